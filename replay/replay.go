// Package replay runs a scenario: it simulates a world in virtual time and evaluates the real rules on it.
//
// Input: a scenario and rules. Output: the transitions of the alerts, the true incidents to compare them with, and the rules
// that failed. State: none outside a run. It never runs in real time: the engine's clock is virtual.
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
	// Progress, if set, receives the time that the replay has reached.
	Progress func(at time.Time)
	Logger   *slog.Logger
}

// Result is the outcome of a run.
type Result struct {
	Truth       report.Truth
	Transitions []engine.Transition
	// Failed are rules whose evaluation failed at least once. Alerts that depend on them are not reliable.
	Failed []engine.RuleError
	// Warnings are reasons why the result is limited, such as a baseline that was not complete at an incident.
	Warnings []string
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
	// Rules take a fifth of the time. Meanwhile the scrapes of the next block use the other cores.
	e, err := engine.New(engine.Options{Rules: o.Rules, Concurrency: 1})
	if err != nil {
		return Result{}, err
	}
	var result Result
	stats, err := e.Run(ctx, engine.Replay{
		From: s.From(), To: s.To(), Targets: w.Targets(), Progress: o.Progress,
		Alerts: func(t engine.Transition) { result.Transitions = append(result.Transitions, t) },
	})
	result.Truth, result.Warnings, result.Failed = w.Truth(), w.Warnings(), stats.Errors
	return result, err
}
