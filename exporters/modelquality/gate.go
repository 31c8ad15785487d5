package modelquality

import (
	"slices"
	"strings"

	"github.com/sightglass-ml/sightglass/internal/config"
)

// GateConfig is what a response has to reach.
type GateConfig struct {
	Gate float64 `yaml:"gate"`
	// HigherIsBetter is false for scores of something bad.
	HigherIsBetter bool `yaml:"higher_is_better"`
	// Scale is what the evaluator's scores go from and to, where that is not 0 to 1. The gate is on the scale from 0 to 1.
	Scale *ScaleConfig `yaml:"scale,omitempty"`
	// FailLabels are the verdicts that are below any gate, PassLabels those that pass where there is no score.
	FailLabels []string `yaml:"fail_labels"`
	PassLabels []string `yaml:"pass_labels"`
	// Review is whether a response below the gate is handed to people.
	Review bool `yaml:"review"`
	// ReviewRatio is the share of them that is; the others count as below the gate all the same.
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

// verdict is what a label says.
type verdict uint8

const (
	unheard verdict = iota
	passing
	failing
)

// verdict tells what a label says. Upper case, spaces, hyphens and underscores do not matter. "no" and "false" say that
// what is judged is not there: that fails where it is good, and passes where it is bad.
func (g *GateConfig) verdict(label string) verdict {
	if label == "" {
		return unheard
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
	return unheard
}

// plain is a label without what evaluators write differently.
func plain(label string) string {
	return strings.ToLower(strings.NewReplacer(" ", "", "_", "", "-", "").Replace(label))
}
