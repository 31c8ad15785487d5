// Package replay runs a scenario: a simulated world in virtual time with the production rules, and the evaluation of their alerts.
//
// Input: a scenario and rules. Output: the alerts' transitions, the truth for their evaluation, and the rules that failed. State: none
// outside a run.
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
	// Progress receives the time that the replay has reached.
	Progress func(at time.Time)
	Logger   *slog.Logger
}

// Result is the result of a run.
type Result struct {
	Truth       report.Truth
	Transitions []engine.Transition
	// Failed are rules whose evaluation failed at some time. The results of alerts that need them are not reliable.
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
	// Rules take a fifth of the time. The scrapes at the same time use the other cores.
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
