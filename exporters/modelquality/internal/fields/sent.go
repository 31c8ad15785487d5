package fields

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/sightglass-ml/sightglass/internal/baseline"
)

// sentInputs is the stored record of the features that a version has sent. Without it, a feature that breaks at a restart of the exporter
// would look like one that the version never had.
type sentInputs struct {
	Features []string `json:"sent_features"`
}

// omits reports whether a field is a feature that the version has never sent. The caller holds the lock.
func (c *counters) omits(name string) bool {
	n, ok := c.byName[strings.TrimPrefix(name, input)]
	return ok && isInput(name) && !c.sent.has(n)
}

// markSent marks features as sent.
func (c *counters) markSent(names map[string]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name := range names {
		if n, ok := c.byName[name]; ok {
			c.sent.add(n)
		}
	}
}

// noteSent adds the features that were counted to those that the version has sent, and returns the new ones.
func (t *Tracker) noteSent() (added []string) {
	if c := t.counters.Load(); c != nil {
		sent, _, _ := c.sentNames()
		for _, name := range sent {
			if !t.sent[name] {
				t.sent[name] = true
				added = append(added, name)
			}
		}
	}
	return added
}

// sentNames returns the sent and the other features of the counted ones, sorted, and the number of inferences.
func (c *counters) sentNames() (sent, others []string, rows int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for n, name := range c.names {
		if c.sent.has(n) {
			sent = append(sent, name)
		} else {
			others = append(others, name)
		}
	}
	return sent, others, c.rows
}

// readSent adds what any replica has stored of a version to the features that it has sent. An accepted feature is left out until it has
// new bins: only what is sent now counts.
func (m *model) readSent(ctx context.Context, t *Tracker, view *baseline.View) error {
	var stored sentInputs
	if err := view.LastGood(ctx, &stored); err != nil && !errors.Is(err, baseline.ErrNotFound) {
		return err
	}
	for _, name := range stored.Features {
		if _, accepted := m.pendingAcceptance(name); !accepted {
			t.sent[name] = true
		}
	}
	if c := t.counters.Load(); c != nil {
		c.markSent(t.sent)
	}
	return nil
}

// writeSent stores the features that a version has sent, if there are new ones, and logs once which features of the previous version it
// does not send.
func (m *model) writeSent(ctx context.Context, t *Tracker, view *baseline.View) error {
	for _, name := range t.noteSent() {
		delete(m.gaveUp, name)
	}
	if _, omitted, rows := t.counters.Load().sentNames(); rows >= fewInferences && !t.omissionsLogged {
		t.omissionsLogged = true
		if t.predecessor != nil {
			if err := m.logOmissions(ctx, t, omitted); err != nil {
				return err
			}
		}
	}
	names := slices.Sorted(maps.Keys(t.sent))
	return view.SetLastGood(ctx, sentInputs{Features: names[:min(len(names), maxFields)]})
}

func (m *model) logOmissions(ctx context.Context, t *Tracker, omitted []string) error {
	var before sentInputs
	err := t.predecessor.view.LastGood(ctx, &before)
	switch {
	case err == nil:
		omitted = slices.DeleteFunc(omitted, func(name string) bool { return !slices.Contains(before.Features, name) })
	case !errors.Is(err, baseline.ErrNotFound):
		return err
	}
	if len(omitted) > 0 {
		m.logger.Warn("A version does not send features that the previous version sent. They are absent and not null until it sends them. If they were not removed on purpose, they are broken since this version was deployed.",
			"version", t.version, "previous_version", t.predecessor.version, "features", omitted)
	}
	return nil
}
