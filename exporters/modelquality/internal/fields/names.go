package fields

import (
	"fmt"
	"strings"
)

// Kinds of a model's subjects in the baseline store.
const (
	// kind has the outputs of a version. Older releases of this exporter also stored its features there.
	kind = "model"
	// inputsKind has the features of a model, for all versions.
	inputsKind = "model_inputs"
	// trainingKind has the features in the training data of a version, by the model's bins.
	trainingKind = "model_training"
)

// InputsKind returns the kind of a model's n-th book of features, from 0.
func InputsKind(n int) string {
	if n == 0 {
		return inputsKind
	}
	return fmt.Sprintf("%s_%d", inputsKind, n+1)
}

// Accepted has the accepted features, each with the number of the last book that no longer applies to it. It is stored with the first book.
type Accepted struct {
	Features map[string]int `json:"features"`
}

func subjectName(model, version string) string {
	if version == "" {
		return model
	}
	return model + "@" + version
}

// versionOf returns the version of the model that a subject belongs to.
func versionOf(model, subject string) (version string, ok bool) {
	if subject == model {
		return "", true
	}
	return strings.CutPrefix(subject, model+"@")
}
