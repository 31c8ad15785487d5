package cost

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/exporter/exportertest"
)

// bank is a Bank of Canada whose US dollar goes up from 1.39 to 1.42 in the first days of March.
func bank(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"seriesDetail": {"FXUSDCAD": {}}, "observations": [{"d": "2026-03-02", "FXUSDCAD": {"v": "1.39"}},
			{"d": "2026-03-04", "FXUSDCAD": {"v": "1.40"}}, {"d": "2026-03-09", "FXUSDCAD": {"v": "1.41"}}, {"d": "2026-03-11", "FXUSDCAD": {"v": "1.42"}}]}`)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// day is a day of usage in US dollars.
func day(month time.Month, day int, dollars int64) charge {
	start := time.Date(2026, month, day, 0, 0, 0, 0, time.UTC)
	return charge{
		period: start.AddDate(0, 0, 1-day), start: start, end: start.AddDate(0, 0, 1), category: "Usage",
		billed: 100 * dollars, effective: 100 * dollars, currency: "USD", team: "search", service: "Models",
	}
}

// Of US$700, 200 are charged at 1.39, 300 at 1.40, 100 at 1.41 and 100 at 1.42: 278 + 420 + 141 + 142 = C$981. At the rate of the
// configuration, 1.38, they are C$966. Bills are read once an hour, so the first collection decides the costs of the first hour.
func TestBankRateIsUsedInTheFirstCollection(t *testing.T) {
	t.Parallel()
	valet := bank(t)
	broken := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(broken.Close)
	for name, tc := range map[string]struct {
		valet, own string // the bank, and the rate of the invoice itself
		invoice    bool
		want       string
	}{
		"the bank's rate": {valet, "", false, "981"},
		"the configured one, while no bank answers":     {broken.URL, "", false, "966"},
		"the invoice's own rate is not taken unasked":   {valet, "1.45", false, "981"},
		"the invoice's own rate, where that is asked":   {valet, "1.45", true, "1015"},
		"the bank's where the invoice has none, either": {valet, "NULL", true, "981"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := filepath.Join(dir, "bills", "march.csv")
			require.NoError(t, os.Mkdir(filepath.Dir(path), 0o755))
			writeBill(t, path, []charge{day(time.March, 3, 200), day(time.March, 5, 300), day(time.March, 10, 100), day(time.March, 12, 100)})
			if tc.own != "" {
				text, err := os.ReadFile(path)
				require.NoError(t, err)
				rated := strings.NewReplacer("x_Unknown", "x_BillingExchangeRate", ",?\n", ","+tc.own+"\n").Replace(string(text))
				require.NoError(t, os.WriteFile(path, []byte(rated), 0o600))
			}
			server := exportertest.Start(t, spec(), "--config.file="+settings(t, dir, fmt.Sprintf(`
bills:
  interval: 1h
  sources: [{name: focus, folder: bills, settle: 0s}]
  departments: [{from_tag: team}]
exchange: {interval: 1h, valet_url: %q, ecb_url: %q, rates: {USD: 1.38}, invoice_rates: %t}
`, tc.valet, broken.URL, tc.invoice)))
			server.AwaitMetric(`ml_cost_month_to_date_cad{department="search"} ` + tc.want)
		})
	}
}

const quick = `
bills:
  interval: 1s
  sources: [{name: focus, folder: bills, settle: 0s}]
  departments: [{from_tag: team}]
exchange: {online: false, rates: {USD: 1}}
`

func TestFolderWithoutAReadableBillFailsTheCollector(t *testing.T) {
	t.Parallel()
	const failed, works = `sightglass_collector_success{collector="bills"} 0`, `sightglass_collector_success{collector="bills"} 1`
	for name, tc := range map[string]struct{ file, text string }{
		"an empty folder":                   {},
		"files without a bill":              {"bill.xlsx", "PK"},
		"a report of another format":        {"cur.csv", "identity/LineItemId,lineItem/UnblendedCost\n1,2\n"},
		"another dataset of FOCUS":          {"contracts.csv", "ContractCommitmentId,ContractId\n1,2\n"},
		"a compressed file that is cut off": {"bill.csv.gz", "\x1f\x8b\x08\x00"},
		"a bill without a readable line":    {"bill.csv", "BilledCost,EffectiveCost,BillingCurrency,BillingPeriodStart,ChargePeriodStart,ChargePeriodEnd,ChargeCategory\n1,1,USD,2026-03-01,11/1/26,11/2/26,Usage\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			bills := filepath.Join(dir, "bills")
			require.NoError(t, os.Mkdir(bills, 0o755))
			if tc.file != "" {
				require.NoError(t, os.WriteFile(filepath.Join(bills, tc.file), []byte(tc.text), 0o600))
			}
			server := exportertest.Start(t, spec(), "--config.file="+settings(t, dir, quick))
			server.AwaitMetric(failed)
			require.NotContains(t, server.Metrics(), "ml_cost_month_to_date_cad{", "no bill is not a bill of zero")
			if tc.file != "" {
				require.NoError(t, os.Remove(filepath.Join(bills, tc.file)))
			}
			writeBill(t, filepath.Join(bills, "march.csv"), []charge{day(time.March, 3, 7)})
			server.AwaitMetric(works)
			server.AwaitMetric(`ml_cost_month_to_date_cad{department="search"} 7`)
		})
	}
}

// February is over, at US$100. A refund of US$40 for it comes with March's invoice, and then February itself is restated.
func TestRefundIsInTheMonthOfItsInvoiceAndRestatedMonthsAreShown(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	bills := filepath.Join(dir, "bills")
	require.NoError(t, os.Mkdir(bills, 0o755))
	server := exportertest.Start(t, spec(), "--config.file="+settings(t, dir, quick+"time_zone: UTC\n"))
	deliver := func(name string, charges ...charge) {
		require.NoError(t, os.MkdirAll(filepath.Join(bills, name), 0o755))
		writeBill(t, filepath.Join(bills, name, "bill.csv"), charges)
	}
	deliver("1", day(time.February, 10, 60), day(time.February, 20, 40))
	server.AwaitMetric(`ml_cost_closed_month_cad{department="search",month="2026-02"} 100`)
	deliver("2", day(time.March, 3, 500))
	server.AwaitMetric(`ml_cost_month_to_date_cad{department="search"} 500`)

	refund := day(time.February, 10, -40)
	refund.class, refund.period = "Correction", refund.period.AddDate(0, 1, 0)
	deliver("3", refund)
	server.AwaitMetric(`ml_cost_month_to_date_cad{department="search"} 460`)
	require.Contains(t, server.Metrics(), `ml_cost_closed_month_cad{department="search",month="2026-02"} 100`)

	deliver("4", day(time.February, 10, 60), day(time.February, 20, 30))
	server.AwaitMetric(`ml_cost_closed_month_cad{department="search",month="2026-02"} 90`)
	require.Contains(t, server.Metrics(), `ml_cost_month_to_date_cad{department="search"} 460`)
}
