package scenario

import "github.com/sightglass-ml/sightglass/internal/config"

// Exclude is a period in which alerts for an object count neither as true nor as false.
type Exclude struct {
	config.Pos `yaml:"-"`

	Name   string            `yaml:"name"`
	From   Moment            `yaml:"from"`
	To     Moment            `yaml:"to"`
	Object map[string]string `yaml:"object,omitempty"`
	Alerts []string          `yaml:"alerts,omitempty"`
}

// Validate implements config.Validator.
func (e *Exclude) Validate(at config.At) {
	named(at, e.Name, "reason")
	for _, k := range []struct {
		key string
		m   Moment
	}{{"from", e.From}, {"to", e.To}} {
		if k.m.IsZero() {
			at.Errorf(k.key, "missing; want %s", k.m.Want())
		}
	}
}
