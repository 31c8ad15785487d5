// Package replay runs a scenario: a world in virtual time under the real rules, and what their alerts were worth.
//
// Input: a scenario and rules. Output: the alerts' transitions, the truth they are judged by, and what the run cost. State:
// none outside a run.
package replay

import (
	"context"
	"log/slog"
	"time"

	"github.com/sightglass-ml/sightglass/replay/engine"
	"github.com/sightglass-ml/sightglass/replay/report"
	"github.com/sightglass-ml/sightglass/replay/scenario"
	"github.com/sightglass-ml/sightglass/replay/world"
)

// Options of a run.
type Options struct {
	Rules engine.Rules
	World world.Options
	// Progress is told how far the replay is.
	Progress func(at time.Time)
	Logger   *slog.Logger
}

// Result is what came out of a run.
type Result struct {
	Truth       report.Truth
	Transitions []engine.Transition
	// Failed are rules that could not be evaluated at some time: the alerts that need them are not to be trusted.
	Failed []engine.RuleError
}

// Run replays a scenario.
func Run(ctx context.Context, s *scenario.Scenario, o Options) (_ Result, err error) {
	o.World.Logger = o.Logger
	w, err := world.Open(ctx, s, o.World)
	if err != nil {
		return Result{}, err
	}
	defer func() {
		if closed := w.Close(); err == nil {
			err = closed
		}
	}()
	// Rules take a fifth of the time, and what is scraped meanwhile keeps other cores busy.
	e, err := engine.New(engine.Options{Rules: o.Rules, Concurrency: 1})
	if err != nil {
		return Result{}, err
	}
	result := Result{Truth: w.Truth()}
	stats, err := e.Run(ctx, engine.Replay{
		From: s.From(), To: s.To(), Targets: w.Targets(), Progress: o.Progress,
		Alerts: func(t engine.Transition) { result.Transitions = append(result.Transitions, t) },
	})
	result.Failed = stats.Errors
	return result, err
}
