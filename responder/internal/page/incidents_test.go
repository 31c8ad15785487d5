package page

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	prometheus "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/responder/internal/incident"
	"github.com/sightglass-ml/sightglass/responder/internal/store"
	"github.com/sightglass-ml/sightglass/responder/internal/store/storetest"
)

// series answers queries of the lineage that contain a text.
type series map[string][]map[string]string

// Query implements lineage.Querier.
func (s series) Query(_ context.Context, query string, _ time.Time, _ ...prometheus.Option) (model.Value, prometheus.Warnings, prometheus.Infos, error) {
	vector := model.Vector{}
	for text, all := range s {
		if !strings.Contains(query, text) {
			continue
		}
		for _, labels := range all {
			m, value := model.Metric{}, model.SampleValue(1)
			for name, v := range labels {
				if name == "value" {
					_, _ = fmt.Sscan(v, &value)
					continue
				}
				m[model.LabelName(name)] = model.LabelValue(v)
			}
			vector = append(vector, &model.Sample{Metric: m, Value: value})
		}
	}
	return vector, nil, nil, nil
}

// raise stores an alert with labels, as the webhook does.
func (s *site) raise(id string, starts, ends time.Time, labels, annotations map[string]string) {
	s.t.Helper()
	l, err := json.Marshal(labels)
	require.NoError(s.t, err)
	a, err := json.Marshal(annotations)
	require.NoError(s.t, err)
	require.NoError(s.t, s.store.Write(s.t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(`INSERT INTO alerts (id, fingerprint, alertname, response, severity, model, dataset, labels, annotations, receiver, starts_at, ends_at, first_received_at, last_received_at, deliveries)
			VALUES (?, ?, ?, '', ?, ?, ?, ?, ?, 'r', ?, ?, ?, ?, 1)`, id, id, labels["alertname"], labels["severity"], labels["model"], labels["dataset"], string(l), string(a),
			store.Micros(starts), store.Micros(ends), store.Micros(starts), store.Micros(now))
		return err
	}))
}

// group makes incidents of the alerts, and returns the first one's ID.
func (s *site) group(q series) string {
	s.t.Helper()
	e := incident.New(s.store, func() time.Time { return now })
	require.NoError(s.t, e.Lineage(s.t.Context(), q))
	require.NoError(s.t, e.Update(s.t.Context()))
	status, body := s.do(http.MethodGet, incident.APIPath, nil)
	require.Equal(s.t, http.StatusOK, status, body)
	var list apiList
	require.NoError(s.t, json.Unmarshal([]byte(body), &list))
	require.NotEmpty(s.t, list.Incidents)
	return list.Incidents[0].ID
}

// provider is an incident from a table to a department, with an action that was held back.
func (s *site) provider() string {
	s.t.Helper()
	explain := map[string]string{
		"summary": "A column drifted from its baseline.", "description": "merchant_category in payments drifted from its production baseline: PSI 0.41; the limit is 0.3.",
		"action": "Map payment_provider = newpay; the rows: SELECT * FROM payments WHERE payment_provider = 'newpay'.", "value": "0.41", "threshold": "0.3",
		"dashboard": "/d/sightglass-data-quality?var-dataset=payments", "runbook_url": "https://runbooks.example/MLDatasetDrift.md", "trace_id": "0af7651916cd43dd8448eb211c80319c", "mlflow_run_id": "4f1d2c",
	}
	withSummary := func(summary string) map[string]string {
		out := maps.Clone(explain)
		out["summary"] = summary
		return out
	}
	s.raise("a", fired, time.Time{}, map[string]string{"alertname": "MLDatasetDrift", "layer": "data", "severity": "warning", "namespace": "data", "dataset": "payments", "column": "merchant_category"}, explain)
	for n, field := range []string{"merchant_category", "amount"} {
		s.raise(fmt.Sprint("b", n), fired.Add(time.Duration(20+n)*time.Minute), time.Time{},
			map[string]string{"alertname": "MLModelDrift", "layer": "model", "severity": "critical", "namespace": "serving", "model": "fraud", "version": "8", "field": field}, withSummary("A feature of a model drifted from its first days in production."))
	}
	s.raise("c", fired.Add(50*time.Minute), fired.Add(70*time.Minute), map[string]string{"alertname": "MLCostPerInferenceTrend", "layer": "business", "severity": "warning", "department": "risk"}, withSummary("An inference costs much more than a week ago."))
	require.NoError(s.t, s.store.Write(s.t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(`INSERT INTO actions (id, alert_id, name, action, object, params, state, result, target_id, attempts, last_error, not_before, lease_owner, lease_until, created_at, first_tried_at, started_at, finished_at)
			VALUES ('k', 'b0', 'retrain-fraud', 'retrain', 'model/fraud', '{}', 'suppressed', 'held', '', 0, '', 0, '', 0, ?, 0, 0, 0)`, store.Micros(fired.Add(21*time.Minute)))
		return err
	}))
	cause := func(value string) map[string]string {
		return map[string]string{"namespace": "data", "dataset": "payments", "column": "merchant_category", "signal": "drift_psi", "cause_column": "payment_provider", "cause_value": "newpay", "statement": "SELECT * FROM shop.payments AS t WHERE payment_provider = 'newpay' LIMIT 100", "value": value}
	}
	return s.group(series{
		"ml_model_dataset_info":              {{"namespace": "serving", "model": "fraud", "dataset": "payments", "dataset_namespace": "data"}},
		"model:ml_inference_requests:rate5m": {{"namespace": "serving", "model": "fraud", "version": "8"}},
		"ml_cost_spend_cad_total":            {{"department": "risk", "model": "fraud"}},
		"_cause_info":                        {cause("0.97")},
		"_cause_rows_ratio":                  {cause("0.05")},
		"_cause_statement_info":              {cause("1")},
		"_cause_first_seen":                  {cause(fmt.Sprint(fired.Add(-8 * time.Minute).Unix()))},
	})
}

func TestAnIncidentIsReadAndAcknowledgedByKeyboard(t *testing.T) {
	web := newSite(t, storetest.SQLite(t))
	id := web.provider()
	b := newBrowser(t, web)
	b.open(web.URL + "/incidents")
	b.keys("j")
	require.Equal(t, "MLDatasetDrift of dataset payments and 3 more", b.focused())
	b.keys(kb.Enter)
	b.await("Probable cause")
	for _, text := range []string{
		"payment_provider = newpay in dataset payments", "payment_provider = newpay explains 97 % of the change of merchant_category", "retrain-fraud", "held back: the data are broken",
		"SELECT * FROM shop.payments AS t WHERE payment_provider = 'newpay' LIMIT 100", "8 min",
	} {
		require.Contains(t, b.text(), text)
	}
	require.Equal(t, 4, eval[int](b, "document.querySelectorAll('svg .object').length"), "payments, version 8, fraud, risk")
	require.Equal(t, "probable cause · 1 alert since 10:30", eval[string](b, "document.querySelector('svg .cause .note').textContent"))
	require.Equal(t, []string{"https://traces.example/trace/0af7651916cd43dd8448eb211c80319c", "https://mlflow.example/#/experiments/0/runs/4f1d2c", "https://runbooks.example/MLDatasetDrift.md"},
		strings.Fields(eval[string](b, "[...document.querySelector('.member').querySelectorAll('.links a[target]')].map(a => a.href).join(' ')")))
	for range 6 { // skip, name, three sections, back
		b.keys(kb.Tab)
	}
	b.keys(kb.Tab)
	require.Equal(t, "Acknowledge", b.focused())
	b.keys(kb.Enter)
	b.await("You look after this incident.")
	require.Contains(t, web.trail("incident_acknowledged")[0], `"actor":"anna"`)
	require.Empty(t, b.complaints())

	status, body := web.do(http.MethodGet, "/incidents/"+id+"/postmortem.md", nil)
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, "| time to detect | 8 min 0 s,")
	require.Contains(t, body, "| retrain-fraud | retrain | model/fraud | suppressed | held back: the data are broken |")
}

func TestAnIncidentIsAcknowledgedWithoutJavaScript(t *testing.T) {
	web := newSite(t, storetest.SQLite(t))
	id := web.provider()
	b := newBrowser(t, web)
	call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	b.open(web.URL + "/incidents/" + id)
	b.accessKey("a")
	require.Eventually(t, func() bool { return len(web.trail("incident_acknowledged")) == 1 }, 20*time.Second, 50*time.Millisecond)
}

func TestAnIncidentFitsScreensAndThemes(t *testing.T) {
	web := newSite(t, storetest.SQLite(t))
	id := web.provider()
	b := newBrowser(t, web)
	for _, theme := range []string{"light", "dark"} {
		for _, width := range []int64{1920, 390} {
			b.theme(theme, width)
			for name, path := range map[string]string{"incidents": "/incidents", "incident": "/incidents/" + id, "incidents-none": "/incidents?q=zebra"} {
				b.open(web.URL + path)
				require.False(t, eval[bool](b, "document.documentElement.scrollWidth > document.documentElement.clientWidth"), "%s at %d is too wide: %s", name, width,
					eval[string](b, "[...document.querySelectorAll('main *')].filter(e => e.getBoundingClientRect().right > innerWidth).map(e => e.tagName + '.' + e.className).join()"))
				require.Empty(t, eval[string](b, `[...document.querySelectorAll('input:not([type=hidden]), select, textarea')].filter(e => !e.labels.length).map(e => e.name).join()`), "a field without a label")
				require.Empty(t, eval[string](b, `performance.getEntriesByType('resource').map(r => r.name).filter(n => !n.startsWith(location.origin)).join()`), "nothing is loaded from elsewhere")
				if name == "incident" {
					require.GreaterOrEqual(t, eval[float64](b, "document.querySelector('svg .note').getBoundingClientRect().height"), 10.0, "the graph's text can be read at %d", width)
				}
				b.screenshot(fmt.Sprintf("%s-%s-%d", name, theme, width))
			}
		}
	}
}

// TestThePicturesOfTheDocs draws them where `make pictures` asks for it: what fits on a screen of that height.
func TestThePicturesOfTheDocs(t *testing.T) {
	dir := os.Getenv(screenshots)
	if dir == "" {
		t.Skip(screenshots + " is not set")
	}
	web := newSite(t, storetest.SQLite(t))
	id := web.provider()
	b := newBrowser(t, web)
	for _, picture := range []struct {
		name, path string
		height     int64
	}{{"incident", "/incidents/" + id, 1085}, {"responder-alerts", "/alerts", 700}} {
		b.theme("light", 900)
		b.run(chromedp.EmulateViewport(900, picture.height))
		b.open(web.URL + picture.path)
		seen, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, picture.name+".png"), seen, 0o600))
	}
}

func TestAHostileIncidentIsHarmless(t *testing.T) {
	const evil = "</text></svg><script>window.owned=1</script><img src=x onerror=\"window.owned=2\"> \u202e'\"`{{.}}"
	web := newSite(t, storetest.SQLite(t))
	labels := map[string]string{"alertname": evil, "layer": evil, "severity": evil, "cluster": evil, "namespace": evil, "dataset": evil, "column": evil, "upstream": evil + "2"}
	web.raise("a", fired, time.Time{}, labels, map[string]string{
		"summary": evil, "description": evil, "action": evil, "value": evil, "threshold": evil, "runbook_url": "javascript:window.owned=3", "dashboard": "//evil.example/d/x",
		"trace_id": evil, "mlflow_run_id": "../../x",
	})
	id := web.group(series{
		"_cause_info":           {{"dataset": evil, "cluster": evil, "namespace": evil, "column": evil, "signal": evil, "cause_column": evil, "cause_value": evil}},
		"_cause_statement_info": {{"dataset": evil, "cluster": evil, "namespace": evil, "column": evil, "signal": evil, "cause_column": evil, "cause_value": evil, "statement": evil}},
		"ml_model_dataset_info": {{"cluster": evil, "namespace": evil, "model": evil, "dataset": evil}},
	})
	require.NoError(t, web.store.Write(t.Context(), func(tx *store.Tx) error {
		if _, err := tx.Exec(`INSERT INTO actions (id, alert_id, name, action, object, params, state, result, target_id, attempts, last_error, not_before, lease_owner, lease_until, created_at, first_tried_at, started_at, finished_at)
			VALUES ('k', 'a', ?, ?, ?, '{}', ?, ?, ?, 0, '', 0, '', 0, 1, 0, 0, 0)`, evil, evil, evil, evil, evil, evil); err != nil {
			return err
		}
		return incident.Acknowledge(tx, id, evil, now)
	}))
	b := newBrowser(t, web)
	for _, path := range []string{"/incidents", "/incidents/" + id} {
		b.open(web.URL + path)
		require.Contains(t, b.text(), "<script>window.owned=1</script>", "it is shown as what it is")
		require.Equal(t, "undefined", eval[string](b, "typeof window.owned"))
		require.Zero(t, eval[int](b, "document.querySelectorAll('main script, main style, main img, main [onerror], main [style], main a[href^=javascript], main a[href*=evil]').length"))
		require.False(t, eval[bool](b, `/[\u202a-\u202e\u2066-\u2069\u200b\u0000\u001b]/.test(document.documentElement.textContent)`), "nothing hidden is left")
	}
	require.Equal(t, 1, eval[int](b, "document.querySelectorAll('main svg').length"), "nothing broke out of the drawing")
	require.NotZero(t, eval[int](b, "document.querySelectorAll('main svg text').length"))
	require.Empty(t, b.complaints())
	require.Empty(t, eval[string](b, "[...document.querySelectorAll('.member .links a[target]')].map(a => a.href).join()"), "no link to where an alert says")
}

func TestTheAPIOfIncidents(t *testing.T) {
	web := newSite(t, storetest.SQLite(t))
	id := web.provider()
	path := incident.APIPath + "/" + id
	nobody := func(r *http.Request) { r.Header.Del("Authorization") }
	crossSite := func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }
	for name, tc := range map[string]struct {
		method, path string
		edit         func(r *http.Request)
		status       int
		contains     string
	}{
		"all":                         {"GET", incident.APIPath, nil, 200, `"total":1`},
		"by an alert's name":          {"GET", incident.APIPath + "?alert=MLModelDrift", nil, 200, id},
		"by an alert that is unknown": {"GET", incident.APIPath + "?alert=Other", nil, 200, `{"incidents":[],"total":0}`},
		"by state":                    {"GET", incident.APIPath + "?state=resolved", nil, 200, `"incidents":[]`},
		"one":                         {"GET", path, nil, 200, `"kind":"dataset","namespace":"data","name":"payments","role":"probable cause"`},
		"a missing one":               {"GET", incident.APIPath + "/none", nil, 404, "nothing here"},
		"a post-mortem":               {"GET", path + "/postmortem.md", nil, 200, "# Post-mortem"},
		"nobody":                      {"GET", path, nobody, 401, "Please log in."},
		"another site":                {"POST", path + "/acknowledgement", crossSite, 403, "another site"},
		"no acknowledgement":          {"POST", path + "/acknowledgement", nobody, 401, "Please log in."},
		"a missing object":            {"POST", incident.APIPath + "/none/acknowledgement", nil, 404, "nothing here"},
		"an invalid method":           {"DELETE", path, nil, 405, "Method Not Allowed"},
	} {
		status, body := web.do(tc.method, tc.path, nil, func(r *http.Request) {
			if tc.edit != nil {
				tc.edit(r)
			}
		})
		require.Equal(t, tc.status, status, name)
		require.Contains(t, body, tc.contains, name)
	}
	require.Empty(t, web.trail("incident_acknowledged"))
	status, _ := web.do(http.MethodPost, path+"/acknowledgement", url.Values{}, as("ben", "secret"))
	require.Equal(t, http.StatusNoContent, status)
	require.Contains(t, web.trail("incident_acknowledged")[0], `"actor":"ben"`)
}
