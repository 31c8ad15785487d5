package cost

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sightglass-ml/sightglass/exporters/cost/internal/bill"
	"github.com/sightglass-ml/sightglass/exporters/cost/internal/metering"
	"github.com/sightglass-ml/sightglass/internal/connect"
	"github.com/sightglass-ml/sightglass/internal/state"
)

// Connect reports what the exporter can reach with a configuration. It counts nothing.
func Connect(ctx context.Context, report *connect.Report, cfg Config) {
	e := &Exporter{cfg: cfg, now: time.Now, log: slog.New(slog.DiscardHandler), handover: &handover{}}
	defer report.Close(func() error { return e.Stop(context.Background()) })
	report.Do(ctx, "state", "writable", func(context.Context) (string, error) { return state.Probe(string(cfg.State)) })
	if !report.Fail("bills", "open", e.openBills()) {
		for _, l := range e.ledgers {
			connectBills(ctx, report, cfg, l)
		}
	}
	if cfg.Metering != nil {
		connectMetering(ctx, report, *cfg.Metering, e.now())
	}
}

func connectBills(ctx context.Context, report *connect.Report, cfg Config, l *ledger) {
	part := "bills " + l.name
	files, ok := connect.Try(ctx, report, part, "reachable", func(ctx context.Context) (int, string, error) {
		if _, err := l.ensureOpen(); err != nil {
			return 0, "", err
		}
		files, deliveries, err := l.opened.CountDeliveries(ctx)
		return files, fmt.Sprintf("%d bills in %d deliveries", files, deliveries), err
	})
	if !ok || files == 0 {
		return // A provider that has not billed yet is not an error, and the row has this text.
	}
	connect.TryFor(ctx, report, time.Duration(cfg.Bills.Timeout), part, "readable", func(ctx context.Context) (bill.Bill, string, error) {
		b, err := l.opened.Read(ctx)
		switch {
		case err != nil:
			return b, "", cfg.Wrap(l.key, err)
		case b.Rejected > 0:
			return b, "", fmt.Errorf("%d of %d rows cannot be read; the first is: %w", b.Rejected, b.Rows, b.Problems[0])
		}
		currencies := map[string]bool{}
		departments := map[string]bool{}
		for _, line := range b.Lines {
			currencies[line.Currency], departments[line.Department] = true, true
		}
		found := fmt.Sprintf("%d bills, %d rows of %d departments in %s", b.Files, b.Rows, len(departments), strings.Join(slices.Sorted(maps.Keys(currencies)), ", "))
		if !b.Through.IsZero() {
			found += ", through " + b.Through.UTC().Format(time.RFC3339)
		}
		return b, found, nil
	})
}

// connectMetering runs all queries of one metering step.
func connectMetering(ctx context.Context, report *connect.Report, cfg MeteringConfig, now time.Time) {
	const part = "metering"
	source, err := cfg.source()
	if report.Fail(part, "open", err) {
		return
	}
	if !report.Do(ctx, part, "reachable", func(ctx context.Context) (string, error) {
		if _, _, _, err := source.API.Query(ctx, "vector(1)", now); err != nil {
			return "", err
		}
		return cfg.Prometheus + " answers", nil
	}) {
		return
	}
	// A step has about ten queries, each with its own timeout.
	connect.TryFor(ctx, report, max(time.Duration(cfg.Timeout), report.Timeout), part, "queries", func(ctx context.Context) (metering.Usage, string, error) {
		u, err := source.Usage(ctx, now.Add(-time.Duration(cfg.Lag)), time.Duration(cfg.Step))
		switch {
		case err != nil:
			return u, "", err
		case u.Blind:
			return u, "they work, and the query alive has no result: nothing is measured yet", nil
		}
		return u, fmt.Sprintf("they work: %d GPUs, %d models with requests, %d resources with usage", len(u.GPUs), len(u.Requests), len(u.Resources)), nil
	})
}
