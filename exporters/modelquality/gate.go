package modelquality

import (
	"slices"
	"strings"

	"github.com/sightglass-ml/sightglass/internal/config"
)

// GateConfig defines which score a response has to reach.
type GateConfig struct {
	Gate float64 `yaml:"gate"`
	// HigherIsBetter is false if a low score is the better one.
	HigherIsBetter bool `yaml:"higher_is_better"`
	// Scale is the range of the evaluator's scores if it is not 0 to 1. The gate is always on the scale from 0 to 1.
	Scale *ScaleConfig `yaml:"scale,omitempty"`
	// FailLabels are the verdicts that fail whatever the score. PassLabels pass if there is no score.
	FailLabels []string `yaml:"fail_labels"`
	PassLabels []string `yaml:"pass_labels"`
	// Review sends responses below the gate to human review.
	Review bool `yaml:"review"`
	// ReviewRatio is the share of these that is sent. The others are still counted as below the gate.
	ReviewRatio float64 `yaml:"review_ratio"`
}

// ScaleConfig is a range of scores.
type ScaleConfig struct {
	Min float64 `yaml:"min"`
	Max float64 `yaml:"max"`
}

// Validate implements config.Validator.
func (s *ScaleConfig) Validate(at config.At) {
	if !(s.Max > s.Min) {
		at.Errorf("max", "%v, and min is %v; want the highest score an evaluator gives above the lowest", s.Max, s.Min)
	}
}

// SetDefaults implements config.Defaulter.
func (g *GateConfig) SetDefaults() {
	g.HigherIsBetter, g.Review, g.ReviewRatio = true, true, 1
	g.FailLabels = []string{"fail", "failed", "hallucinated", "ungrounded", "not grounded", "incorrect", "unfaithful"}
	g.PassLabels = []string{"pass", "passed", "factual", "grounded", "correct", "faithful"}
}

// Validate implements config.Validator.
func (g *GateConfig) Validate(at config.At) {
	if !at.Has("gate") {
		at.Errorf("gate", "missing; want the score that a response must reach")
	}
	if !(g.ReviewRatio > 0 && g.ReviewRatio <= 1) {
		at.Errorf("review_ratio", "%v; want a share above 0, up to 1, or review: false", g.ReviewRatio)
	}
}

// verdict is the meaning of an evaluation's label.
type verdict uint8

const (
	unlabelled verdict = iota
	passing
	failing
)

// verdict returns the meaning of a label. It ignores case, spaces, hyphens and underscores. "no" and "false" mean that the evaluated
// property is absent: this fails if the property is good and passes if it is bad.
func (g *GateConfig) verdict(label string) verdict {
	if label == "" {
		return unlabelled
	}
	label = plain(label)
	is := func(l string) bool { return plain(l) == label }
	switch {
	case slices.ContainsFunc(g.FailLabels, is):
		return failing
	case slices.ContainsFunc(g.PassLabels, is):
		return passing
	case label == "no" || label == "false":
		if g.HigherIsBetter {
			return failing
		}
		return passing
	case label == "yes" || label == "true":
		if g.HigherIsBetter {
			return passing
		}
		return failing
	}
	return unlabelled
}

// plain normalizes a label, because evaluators differ in case and separators.
func plain(label string) string {
	return strings.ToLower(strings.NewReplacer(" ", "", "_", "", "-", "").Replace(label))
}
