package dataquality

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/internal/exporter"
)

// stopTimeout bounds the wait of a reload for the profiles that it stops.
const stopTimeout = 1800 * time.Millisecond

// Reload implements exporter.Reloader. Unchanged datasets keep running with their state and series. A changed dataset keeps
// its series until its next profile, or until they expire.
func (e *Exporter) Reload(ctx context.Context, cfg Config) error {
	old := e.connections.config()
	if !config.Equal(old.BaselineStore, cfg.BaselineStore) || old.MaxConcurrentProfiles != cfg.MaxConcurrentProfiles {
		return exporter.ErrReplace // All datasets share these settings.
	}
	changed, err := e.connections.changedSources(&cfg)
	if err != nil {
		return err
	}
	now := make(map[string]DatasetConfig, len(cfg.Datasets))
	for _, dc := range cfg.Datasets {
		now[dc.Name] = dc
	}
	var left []watched
	var added, removed []string
	for _, name := range slices.Sorted(maps.Keys(e.watched)) {
		w := e.watched[name]
		dc, stays := now[name]
		if stays && config.Equal(w.dataset.cfg, dc) && !uses(&dc, changed) {
			delete(now, name)
			continue
		}
		left = append(left, w)
		delete(e.watched, name)
		if !stays {
			removed = append(removed, name)
		}
	}
	late, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	for _, w := range left {
		stopped := w.stop(late)
		if !stopped {
			e.connections.logger.Warn("A profile did not end in time and was left behind", "dataset", w.dataset.cfg.Name)
		}
		if !slices.Contains(removed, w.dataset.cfg.Name) {
			continue
		}
		e.Delete(w.dataset.cfg.Name)
		if stopped { // Otherwise the profile still uses the children; their series expire later.
			for segment := range w.dataset.children {
				e.Delete(segment)
			}
		}
	}
	e.connections.replace(&cfg, changed)
	var errs []error
	for _, dc := range cfg.Datasets {
		if _, start := now[dc.Name]; start {
			added = append(added, dc.Name)
			errs = append(errs, e.watch(dc))
		}
	}
	e.connections.logger.Info("Datasets that a reload has not touched go on", "unchanged", len(e.watched)-len(added), "started", added, "ended", removed)
	return errors.Join(errs...)
}

// uses reports whether a dataset reads from one of the sources.
func uses(d *DatasetConfig, sources map[string]bool) bool {
	named := []string{d.Source}
	if t := d.Baselines.Training; t != nil {
		named = append(named, t.Source)
	}
	for _, u := range d.Upstream {
		named = append(named, u.Source)
	}
	for _, c := range d.Comparisons {
		named = append(named, c.Source)
	}
	return slices.ContainsFunc(named, func(s string) bool { return sources[s] })
}
