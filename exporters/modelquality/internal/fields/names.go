package fields

import (
	"fmt"
	"strings"
)

// Kinds of the subjects that a model has in the baseline store.
const (
	// kind are versions: what their outputs look like. Earlier versions of the program kept the features there as well.
	kind = "model"
	// inputsKind are models: what their features look like, whatever the version.
	inputsKind = "model_inputs"
	// trainingKind are versions: what the features look like in the data that they were trained on, by the model's bins.
	trainingKind = "model_training"
)

// InputsKind is the kind of a model's n-th book of features, from 0.
func InputsKind(n int) string {
	if n == 0 {
		return inputsKind
	}
	return fmt.Sprintf("%s_%d", inputsKind, n+1)
}

// Accepted are the features that somebody accepted as they are now, and the last book that does not count for each. It is
// kept with the first book.
type Accepted struct {
	Features map[string]int `json:"features"`
}

func subjectName(model, version string) string {
	if version == "" {
		return model
	}
	return model + "@" + version
}

// versionOf returns which version of the model a subject is about.
func versionOf(model, subject string) (version string, ok bool) {
	if subject == model {
		return "", true
	}
	return strings.CutPrefix(subject, model+"@")
}
