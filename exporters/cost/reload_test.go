package cost

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/internal/exporter"
	"github.com/sightglass-ml/sightglass/internal/exporter/exportertest"
)

func TestUnchangedReloadReplacesNothing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	load := func(text string) Config {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		cfg, err := config.Load[Config](file)
		require.NoError(t, err)
		return cfg
	}
	const text = "exchange: {online: false}\nmetering: {prometheus: http://localhost:9090}\nbudgets: [{department: a, monthly_cad: 100}]\n"
	running := &Exporter{cfg: load(text), handover: &handover{}}
	require.NoError(t, running.Reload(t.Context(), load("# The lines move.\n\n"+text)))
	require.ErrorIs(t, running.Reload(t.Context(), load(text+"fiscal_year_start: 4\n")), exporter.ErrReplace)
}

// The file changes without a sign that the exporter checks. If a reload read the bill again, the new department would appear.
func TestReloadReadsNoKnownBill(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text   string
		anew   bool
		metric string
	}{
		"a changed price":                  {strings.Replace(baseConfig, "price: 0.0002", "price: 0.0003", 1), false, `ml_cost_price_cad{resource="fraud",unit="request"} 0.0003`},
		"a changed budget":                 {strings.Replace(baseConfig, "monthly_cad: 700", "monthly_cad: 800", 1), false, `ml_cost_budget_cad{department="search"} 800`},
		"another interval and less memory": {strings.Replace(baseConfig, "interval: 1s", "interval: 2s\n  memory_limit: 128MiB", 1), false, ""},
		"a new source": {
			strings.Replace(baseConfig, "sources: [", "sources: [{name: more, folder: more, settle: 0s}, ", 1), false, `ml_cost_bill_rows{source="more"} 1`,
		},
		"a source with another name": {strings.Replace(baseConfig, "name: focus", "name: renamed", 1), false, `ml_cost_bill_rows{source="renamed"} `},
		"a changed rule of departments": {
			strings.Replace(baseConfig, "{department: shop,", "{department: store,", 1), true, `ml_cost_month_to_date_cad{department="store"} `,
		},
		"a budget whose department the bills spell otherwise": {
			strings.Replace(baseConfig, "budgets:", "budgets:\n  - {department: Zearch, monthly_cad: 10}", 1), true, `ml_cost_budget_cad{department="Zearch"} 10`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for _, folder := range []string{"bills", "more"} {
				require.NoError(t, os.Mkdir(filepath.Join(dir, folder), 0o755))
			}
			march := filepath.Join(dir, "bills", "march.csv")
			writeBill(t, march, until(20))
			path := settings(t, dir, baseConfig)
			server := exportertest.Start(t, spec(), "--config.file="+path)
			const known, changed = `ml_cost_month_to_date_cad{department="search"} `, `ml_cost_month_to_date_cad{department="zearch"} `
			server.AwaitMetric(known + "431")

			was, err := os.Stat(march)
			require.NoError(t, err)
			text, err := os.ReadFile(march)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(march, bytes.ReplaceAll(text, []byte("search"), []byte("zearch")), 0o600))
			require.NoError(t, os.Chtimes(march, was.ModTime(), was.ModTime()))
			writeBill(t, filepath.Join(dir, "more", "march.csv"), until(20)[:1])

			settings(t, dir, c.text)
			status, body := server.Do(http.MethodPost, "/-/reload")
			require.Equal(t, http.StatusOK, status, body)
			page := server.Metrics()
			require.Contains(t, page, "\n"+c.metric)
			require.Equal(t, !c.anew, strings.Contains(page, "\n"+known), page)
			require.Equal(t, c.anew, strings.Contains(strings.ToLower(page), "\n"+changed), page)
		})
	}
}

func TestBanksAreQueriedWithTheHTTPClientSettings(t *testing.T) {
	t.Parallel()
	asked := make(chan http.Header, 8)
	bank := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Header
		http.Error(w, "closed", http.StatusServiceUnavailable)
	}))
	t.Cleanup(bank.Close)
	path := settings(t, t.TempDir(), `
exchange: {valet_url: "`+bank.URL+`", ecb_url: "`+bank.URL+`", http_client: {http_headers: {X-Tenant: {values: [ml]}}}}
prices: {requests: [{model: fraud, price: 1, currency: USD}]}
`)
	exportertest.Start(t, spec(), "--config.file="+path)
	select {
	case h := <-asked:
		require.Equal(t, "ml", h.Get("X-Tenant"))
	case <-time.After(20 * time.Second):
		t.Fatal("no bank was asked")
	}
}

func TestSharedTimeZoneIsThatOfTheBooks(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	require.NoError(t, os.WriteFile(file, []byte("metering: {prometheus: http://localhost:9090}\n"), 0o600))
	for env, want := range map[string]string{"Asia/Tokyo": "Asia/Tokyo", "": "America/Toronto"} {
		t.Setenv("SIGHTGLASS_TIME_ZONE", env)
		cfg, err := Load(file)
		require.NoError(t, err)
		require.Equal(t, want, cfg.calendar.Zone().String())
	}
}
