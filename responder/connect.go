package responder

import (
	"context"
	"errors"
	"fmt"

	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/internal/connect"
	"github.com/sightglass-ml/sightglass/responder/internal/action"
	"github.com/sightglass-ml/sightglass/responder/internal/incident"
	"github.com/sightglass-ml/sightglass/responder/internal/store"
)

// Connect reports whether the responder can reach the systems of a configuration. It starts no action.
func Connect(ctx context.Context, report *connect.Report, cfg Config) {
	report.Do(ctx, "store", "writable", func(ctx context.Context) (string, error) { return store.Probe(ctx, cfg.Store) })
	connectSecret(ctx, report, "webhook", cfg.Webhook.Token)
	if cfg.Reviews != nil {
		connectSecret(ctx, report, "reviews", cfg.Reviews.Token)
	}
	if p := cfg.Prometheus; p != nil {
		report.Do(ctx, "prometheus", "reachable", func(ctx context.Context) (string, error) {
			snapshots, err := action.PrometheusSnapshots(*p)
			if err == nil {
				_, err = snapshots.LastGood(ctx, "", "", "")
			}
			return p.URL + " answers", err
		})
	}
	if c := cfg.Incidents.Slack; c != nil {
		report.Do(ctx, "incidents.slack", "token", func(ctx context.Context) (string, error) { return incident.ReachSlack(ctx, *c) })
	}
	for _, a := range cfg.Actions {
		part := "action " + a.Name
		report.Do(ctx, part, "reachable", func(ctx context.Context) (string, error) { return action.Reach(ctx, a.Target) })
		if a.DryRun {
			report.Add(part, "dry_run", connect.Info, "true: the action is only recorded")
		}
	}
}

// connectSecret reads a secret without printing it.
func connectSecret(ctx context.Context, report *connect.Report, part string, token config.SecretSource) {
	report.Do(ctx, part, "token", func(context.Context) (string, error) {
		secret, err := token.Read()
		if err == nil && secret.Reveal() == "" {
			err = errors.New("is empty")
		}
		return fmt.Sprintf("can be read, %d characters", len(secret.Reveal())), err
	})
}
