package modelquality

import (
	"fmt"
	"time"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/fields"
	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/internal/drift"
	"github.com/sightglass-ml/sightglass/rules"
)

// CausesConfig limits the sample of recent inferences that is searched for probable causes.
type CausesConfig struct {
	// Window is compared with the window before it; 0 disables the search.
	Window config.Duration `yaml:"window"`
	// Memory limits the samples of all versions together.
	Memory config.Bytes `yaml:"memory"`
	// Fields is the number of fields that are searched for a cause.
	Fields int `yaml:"fields"`
}

// SetDefaults implements config.Defaulter.
func (c *CausesConfig) SetDefaults() {
	c.Window, c.Memory, c.Fields = config.Duration(time.Hour), 32<<20, 50
}

// Validate implements config.Validator.
func (c *CausesConfig) Validate(at config.At) {
	if c.Window != 0 && (c.Window < config.Duration(time.Minute) || c.Window > config.Duration(24*time.Hour)) {
		at.Errorf("window", "%v; want 1m to 1d, or 0 for no search", c.Window)
	}
	if c.Memory < 1<<20 || c.Memory > 4<<30 {
		at.Errorf("memory", "%v; want 1MiB to 4GiB", c.Memory)
	}
	if c.Fields < 1 || c.Fields > 250 {
		at.Errorf("fields", "%d; want 1 to 250", c.Fields)
	}
}

// causes returns the options of the search. The limits are those of the alerts: the defaults of the rules, and the overrides of the
// configuration.
func (e *Exporter) causes(cfg *CausesConfig) (fields.Causes, error) {
	thresholds, err := rules.Thresholds()
	if err != nil {
		return fields.Causes{}, err
	}
	defaults := make(map[string]float64, len(thresholds))
	for _, t := range thresholds {
		defaults[t.Signal] = t.Value
	}
	for _, signal := range []string{
		signalDrift, "drift_significance_z", "drift_min_rows", "drift_noise_psi", "sudden_significance_z", "drift_sudden_factor", "drift_sudden_min_rows",
		"broken_ratio", "broken_bin_ratio",
	} {
		if _, ok := defaults[signal]; !ok {
			return fields.Causes{}, fmt.Errorf("rules/thresholds.yaml has no threshold %q", signal)
		}
	}
	return fields.Causes{
		Window: time.Duration(cfg.Window), Memory: int64(cfg.Memory), Fields: cfg.Fields,
		Limits: func(model, field string) fields.Limits {
			psi, own := defaults[signalDrift], false
			if v := e.cfg.Load().drift(model, field); v != nil {
				psi, own = *v, true
			}
			return fields.Limits{
				Long: drift.Limits{PSI: psi, Z: defaults["drift_significance_z"], Values: defaults["drift_min_rows"], Noise: defaults["drift_noise_psi"]},
				// For few values, the error margin of PSI is sufficient: PSI must exceed it in addition to the limit.
				Short:  drift.Limits{PSI: psi * defaults["drift_sudden_factor"], Z: defaults["sudden_significance_z"], Values: defaults["drift_sudden_min_rows"], Noise: 1},
				Own:    own,
				Broken: defaults["broken_ratio"], BrokenBin: defaults["broken_bin_ratio"],
			}
		},
	}, nil
}

// drift returns the limit of PSI that the configuration sets for a field, otherwise for its model, otherwise nil.
func (c *Config) drift(model, field string) *float64 {
	var limit *float64
	for i := range c.Models {
		m := &c.Models[i]
		if m.Name != model {
			continue
		}
		if v := m.Thresholds.Fields[field].DriftPSI; v != nil {
			return v
		}
		if m.Thresholds.DriftPSI != nil {
			limit = m.Thresholds.DriftPSI
		}
	}
	return limit
}
