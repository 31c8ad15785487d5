package cost

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/exporter"
	"github.com/sightglass-ml/sightglass/internal/exporter/exportertest"
	"github.com/sightglass-ml/sightglass/internal/testtools"
)

// now is the clock of these tests: the morning of 20 March 2026 in Toronto.
func now() time.Time { return time.Date(2026, 3, 20, 12, 0, 0, 0, time.UTC) }

// spec is the exporter with that clock.
func spec() exporter.Spec[Config] {
	s, books := Spec(), &handover{}
	s.Start = func(_ context.Context, env *exporter.Env, cfg Config) (exporter.Instance, error) {
		return start(env, cfg, now, books)
	}
	return s
}

// until are the charges of the synthetic bill that were delivered by the beginning of a day in March 2026, with one in a
// currency without a rate.
func until(day int) []charge {
	end := time.Date(2026, 3, day, 0, 0, 0, 0, time.UTC)
	var all []charge
	for _, c := range twoYears() {
		if c.period.Year() == 2026 && c.period.Month() < time.April && !c.end.After(end) {
			all = append(all, c)
		}
	}
	last := all[len(all)-1]
	last.currency, last.service = "JPY", "Abroad"
	return append(all, last)
}

// settings write a configuration and return its path.
func settings(t *testing.T, dir, text string) string {
	t.Helper()
	path := filepath.Join(dir, "cost.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

const baseConfig = `
bills:
  interval: 1s
  sources: [{name: focus, folder: bills, settle: 0s}]
  departments: [{from_tag: team}, {department: shop, sub_account: Shop}]
  observability: [{service: Models}]
budgets:
  - {department: search, monthly_cad: 700}
  - {department: search, monthly_cad: 900, from: 2026-04}
exchange: {online: false, rates: {USD: 1.4, EUR: 1.5}}
prices:
  gpu_hours: [{gpu: "NVIDIA H100*", price: 3, currency: USD}]
  requests: [{model: fraud, price: 0.0002}]
  tokens: [{model: chat, input_per_million: 0.5, output_per_million: 1.5}]
`

func TestMetricsPage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "bills"), 0o755))
	writeBill(t, filepath.Join(dir, "bills", "march.csv"), until(20))
	server := exportertest.Start(t, spec(), "--config.file="+settings(t, dir, baseConfig))
	server.AwaitReady()

	own := regexp.MustCompile(`(?m)^(# (HELP|TYPE) )?ml_cost_\w+[{ ].*\n`)
	page := bytes.Join(own.FindAll([]byte(server.Metrics()), -1), nil)
	exportertest.Golden(t, "testdata/metrics.prom", string(page))
	exportertest.Lint(t, string(page))
	check := exec.Command(testtools.Path(t, "promtool"), "check", "metrics")
	check.Stdin = bytes.NewReader(page)
	out, err := check.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Empty(t, string(out))
}

func TestNewDeliveryAndNewConfigurationAreShown(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	bills := filepath.Join(dir, "bills")
	require.NoError(t, os.Mkdir(bills, 0o755))
	writeBill(t, filepath.Join(bills, "march.csv"), until(10))
	path := settings(t, dir, baseConfig)
	server := exportertest.Start(t, spec(), "--config.file="+path)
	// Nine days of 24 hours, less the hour that clocks skip, and the five hours of the first that UTC has in February;
	// the bill ends by UTC as well.
	server.AwaitMetric(`ml_cost_month_to_date_cad{department="search"} 211`)
	server.AwaitMetric(`sightglass_collector_success{collector="bills"} 0`) // a currency has no rate
	server.AwaitMetric(`ml_cost_unconverted_rows_total{currency="JPY"} 1`)

	// The month so far, delivered again: it has ten days and the credit more.
	writeBill(t, filepath.Join(bills, "march.csv"), until(20))
	server.AwaitMetric(`ml_cost_month_to_date_cad{department="search"} 431`)

	settings(t, dir, baseConfig+"nonsense: true\n")
	status, body := server.Do(http.MethodPost, "/-/reload")
	require.NotEqual(t, http.StatusOK, status)
	require.Contains(t, body, "nonsense")
	server.AwaitMetric(`ml_cost_budget_cad{department="search"} 700`)

	settings(t, dir, baseConfig+"fiscal_year_start: 4\ntime_zone: UTC\n")
	status, body = server.Do(http.MethodPost, "/-/reload")
	require.Equal(t, http.StatusOK, status, body)
	server.AwaitMetric(fmt.Sprintf("ml_cost_fiscal_period_start_timestamp_seconds %s", "1.7723232e+09"))
	server.AwaitMetric(`ml_cost_month_to_date_cad{department="search"} 436`)
}

func TestTheExampleIsValid(t *testing.T) {
	t.Parallel()
	_, err := Load("../../examples/cost/sightglass.yaml")
	require.NoError(t, err)
}
