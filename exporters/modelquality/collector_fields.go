package modelquality

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/datasets"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/fields"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/lineage"
	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/drift"
	"github.com/sightglass-ml/sightglass/internal/exporter"
	"github.com/sightglass-ml/sightglass/internal/limit"
	"github.com/sightglass-ml/sightglass/internal/season"
	"github.com/sightglass-ml/sightglass/rules"
)

// openFields returns the keeper of the fields' bins and baselines. It starts nothing.
func (e *Exporter) openFields(cfg *Config) (*fields.Keeper, error) {
	causes, err := e.causes(&cfg.Causes)
	if err != nil {
		return nil, err
	}
	seasons, err := cfg.Baselines.seasons()
	if err != nil {
		return nil, err
	}
	keeper, err := fields.New(fields.Options{
		Store: e.connections.store, Sample: cfg.Baselines.Sample, SampleWait: time.Duration(cfg.Baselines.SampleWait), Days: cfg.Baselines.Days,
		Choice: cfg.Baselines.Fields.choice(), Reveal: cfg.Baselines.Fields.revealed(), Training: e.training, Fields: func(model string) *limit.Limiter { return (*e.fields.Load())(model) },
		Season: seasons, Slow: time.Duration(cfg.Baselines.Interval), Causes: causes, Now: time.Now, Logger: e.env.Logger,
	})
	return keeper, cfg.Wrap("baselines", err)
}

// watchFields starts the loops of the fields. Without a baseline store there are none.
func (e *Exporter) watchFields() error {
	if e.keeper == nil {
		return nil
	}
	e.env.Go(e.keeper.Run)
	loops := []exporter.Loop{
		{Name: baseline.Collector, Interval: baseline.CheckInterval, Collect: e.connections.store.Check},
		{Name: "fields", Interval: fieldsEvery, Timeout: fieldsTimeout, Collect: e.keeper.Cycle},
	}
	if every := e.keeper.Causes.CausesEvery(); every > 0 {
		loops = append(loops, exporter.Loop{Name: "causes", Interval: every, Timeout: fieldsTimeout, Collect: e.keeper.Explain})
	}
	for _, l := range loops {
		if err := e.env.Loop(l); err != nil {
			return err
		}
	}
	return nil
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
			psi, configured := defaults[signalDrift], false
			if v := e.cfg.Load().drift(model, field); v != nil {
				psi, configured = *v, true
			}
			return fields.Limits{
				Long: drift.Limits{PSI: psi, Z: defaults["drift_significance_z"], Values: defaults["drift_min_rows"], Noise: defaults["drift_noise_psi"]},
				// For few values, the error margin of PSI is sufficient: PSI must exceed it in addition to the limit.
				Short:  drift.Limits{PSI: psi * defaults["drift_sudden_factor"], Z: defaults["sudden_significance_z"], Values: defaults["drift_sudden_min_rows"], Noise: 1},
				Own:    configured,
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

// training returns the training data of a version: from the configuration, otherwise from the registry.
func (e *Exporter) training(ctx context.Context, model, version string) (fields.Training, bool, error) {
	if t, key := e.cfg.Load().training(model, version); t != nil {
		source, relation, err := e.connections.table(&t.Location, "", key)
		return fields.Training{Source: source, Relation: relation, Prediction: t.PredictionColumn, Confidence: t.ConfidenceColumn}, err == nil, err
	}
	m := e.connections.registry.Load()
	if m == nil || m.datasets == nil {
		return fields.Training{}, false, nil
	}
	info, known := m.server.Lookup(lineage.Version{Model: model, Version: version})
	if !known {
		return fields.Training{}, false, errors.New("the MLflow registry has not said yet what it was trained on")
	}
	if info.SourceType == "" && info.Source == "" {
		return fields.Training{}, false, nil // The run has no dataset.
	}
	file, err := m.datasets.Open(ctx, datasets.Dataset{RunID: info.RunID, Type: info.SourceType, Source: info.Source})
	if errors.Is(err, datasets.ErrUnreadable) {
		return fields.Training{}, false, nil
	}
	if err != nil {
		return fields.Training{}, false, err
	}
	relation, err := m.files.Files(file.Path, "")
	return fields.Training{Source: m.files, Relation: relation, Done: file.Done}, err == nil, err
}

// seasons are the settings of the baselines' seasons: the time zone of the configuration, and the hours that the rules would judge.
func (b *BaselinesConfig) seasons() (season.Settings, error) {
	const signal = "drift_noise_psi"
	noise, ok := rules.Default(signal)
	if !ok {
		return season.Settings{}, fmt.Errorf("rules/thresholds.yaml has no threshold %q", signal)
	}
	return season.Settings{Zone: b.TimeZone.Location(), MaxNoise: noise}, nil
}

// training returns the configured training data of a version and its position in the file. The version's own entry precedes that of all
// versions.
func (c *Config) training(model, version string) (chosen *TrainingConfig, key string) {
	for i, m := range c.Models {
		if m.Name != model || m.Training == nil || m.Version != "" && m.Version != version {
			continue
		}
		if chosen == nil || m.Version != "" {
			chosen, key = m.Training, "models["+strconv.Itoa(i)+"].training."
		}
	}
	return chosen, key
}
