package page

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/promslog"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"github.com/sightglass-ml/sightglass/internal/config"
	contract "github.com/sightglass-ml/sightglass/internal/review"
	"github.com/sightglass-ml/sightglass/responder/internal/audit"
	"github.com/sightglass-ml/sightglass/responder/internal/links"
	"github.com/sightglass-ml/sightglass/responder/internal/review"
	"github.com/sightglass-ml/sightglass/responder/internal/store"
	"github.com/sightglass-ml/sightglass/responder/internal/store/storetest"
	"github.com/sightglass-ml/sightglass/responder/internal/verdict"
)

var (
	now   = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	fired = time.Date(2026, 11, 24, 10, 30, 0, 0, time.UTC)
)

// site is a page over a store, with the API that fills it.
type site struct {
	*httptest.Server
	t     *testing.T
	store *store.Store
	page  *Page
	api   *review.API
}

func newSite(t *testing.T, s *store.Store) *site {
	t.Helper()
	dir := t.TempDir()
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	require.NoError(t, err)
	users := filepath.Join(dir, "users.yaml")
	require.NoError(t, os.WriteFile(users, fmt.Appendf(nil, "basic_auth_users:\n  anna: %s\n  ben: %s\n", hash, hash), 0o600))
	token := filepath.Join(dir, "token")
	require.NoError(t, os.WriteFile(token, []byte("t0ken"), 0o600))

	clock := func() time.Time { return now }
	p, err := New(s, promslog.NewNopLogger(), clock)
	require.NoError(t, err)
	require.NoError(t, p.Configure(&Config{
		UsersFile: config.Path(users), TraceURL: "https://traces.example/trace/{trace_id}", MLflowURL: "https://mlflow.example/#/experiments/0/runs/{run_id}",
	}))
	api := review.NewAPI(s, promslog.NewNopLogger(), clock)
	api.Configure(&review.Config{Token: config.SecretSource{File: config.Path(token)}, MaxOpen: 1000, StoreExcerpts: true})
	mux := http.NewServeMux()
	for _, path := range Paths {
		mux.Handle(path, p)
	}
	mux.Handle(contract.Path, api)
	web := &site{httptest.NewServer(mux), t, s, p, api}
	t.Cleanup(web.Close)
	return web
}

// item is number n of an evaluation.
func item(n int) contract.Item {
	trace := fmt.Sprintf("%032x", n+0xabcdef)
	return contract.Item{
		ID: contract.NewID(trace, "", "", "groundedness"), Time: now.Add(-time.Duration(n+1) * 7 * time.Minute), Model: "support-bot", Version: "3",
		MLflowRunID: "4f1d2c", TraceID: trace, ResponseID: fmt.Sprintf("resp-%d", n), Evaluation: "groundedness", Score: 0.42 + float64(n%5)/10, Gate: 0.9,
		Explanation: "The answer names a refund period that none of the retrieved pages mentions.",
		Excerpt:     fmt.Sprintf("Answer %d: you can return the lamp within 60 days and keep the adapter, since opened articles count as unused.", n),
	}
}

func (s *site) queue(items ...contract.Item) {
	s.t.Helper()
	for _, i := range items {
		body, err := json.Marshal(i)
		require.NoError(s.t, err)
		r, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.URL+contract.Path, strings.NewReader(string(body)))
		require.NoError(s.t, err)
		r.Header.Set("Authorization", "Bearer t0ken")
		res, err := http.DefaultClient.Do(r)
		require.NoError(s.t, err)
		text, _ := io.ReadAll(res.Body)
		res.Body.Close()
		require.Equal(s.t, http.StatusCreated, res.StatusCode, string(text))
	}
}

// fire stores an alert as the webhook does.
func (s *site) fire(id, alertname string, starts, ends time.Time) {
	s.t.Helper()
	labels := fmt.Sprintf(`{"alertname":%q,"severity":"critical","model":"fraud","version":"7","layer":"model"}`, alertname)
	annotations := `{"summary":"The inputs of a model drift.","description":"PSI of amount is 0.41, limit 0.3, against the 30 days of the baseline.","runbook_url":"https://runbooks.example/MLModelDrift.md","trace_id":"0af7651916cd43dd8448eb211c80319c","mlflow_run_id":"4f1d2c"}`
	require.NoError(s.t, s.store.Write(s.t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(`INSERT INTO alerts (id, fingerprint, alertname, response, severity, model, dataset, labels, annotations, receiver, starts_at, ends_at, first_received_at, last_received_at, deliveries)
			VALUES (?, ?, ?, 'retrain', 'critical', 'fraud', '', ?, ?, 'r', ?, ?, ?, ?, 1)`, id, id, alertname, labels, annotations,
			store.Micros(starts), store.Micros(ends), store.Micros(starts), store.Micros(starts))
		return err
	}))
}

// do makes a request as anna, unless edit says otherwise.
func (s *site) do(method, path string, form url.Values, edit ...func(r *http.Request)) (int, string) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.URL+path, strings.NewReader(form.Encode()))
	require.NoError(s.t, err)
	r.SetBasicAuth("anna", "secret")
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	for _, e := range edit {
		e(r)
	}
	res, err := http.DefaultClient.Do(r)
	require.NoError(s.t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(s.t, err)
	return res.StatusCode, string(body)
}

func as(name, password string) func(*http.Request) {
	return func(r *http.Request) { r.SetBasicAuth(name, password) }
}

func decision(revision, decision, reason string) url.Values {
	return url.Values{"revision": {revision}, "decision": {decision}, "reason": {reason}}
}

// trail are the records of a kind in the audit trail, as JSON lines.
func (s *site) trail(kind string) (lines []string) {
	s.t.Helper()
	var out strings.Builder
	_, err := audit.Export(s.t.Context(), s.store, &out)
	require.NoError(s.t, err)
	for line := range strings.Lines(out.String()) {
		if strings.Contains(line, fmt.Sprintf(`"kind":%q`, kind)) {
			lines = append(lines, line)
		}
	}
	return lines
}

func TestSecondReviewerSeesTheFirstDecision(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		web := newSite(t, s)
		first, second := item(1), item(2)
		web.queue(first, second)
		path := "/reviews/" + first.ID

		status, body := web.do(http.MethodPost, path, decision("0", "rejected", "The refund period is invented."), as("ben", "secret"))
		require.Equal(t, http.StatusOK, status, body)
		require.Contains(t, body, second.ID, "the next item is shown")
		require.Contains(t, body, "Rejected.")

		status, body = web.do(http.MethodPost, path, decision("0", "accepted", "Looks right to me."))
		require.Equal(t, http.StatusConflict, status)
		require.Contains(t, body, "Your decision was not recorded")
		require.Contains(t, body, "<bdi>ben</bdi>")
		require.Contains(t, body, "The refund period is invented.")
		require.Contains(t, body, "Looks right to me.", "what was typed is not lost")

		require.Len(t, web.trail("review_queued"), 2)
		decided := web.trail("review_decided")
		require.Len(t, decided, 1)
		require.Contains(t, decided[0], `"actor":"ben"`)
		require.Contains(t, decided[0], `"decision":"rejected"`)

		status, _ = web.do(http.MethodPost, path, decision("1", "reopened", "Wrong click."))
		require.Equal(t, http.StatusOK, status)
		status, _ = web.do(http.MethodPost, path, decision("2", "accepted", ""))
		require.Equal(t, http.StatusOK, status)
		require.NoError(t, s.Read(t.Context(), func(tx *store.Tx) error {
			st, err := review.ReadStatus(tx)
			require.Equal(t, map[string]int64{"open": 1, "accepted": 1}, st.Items)
			require.EqualValues(t, 1, st.Decisions["accepted"])
			require.EqualValues(t, 1, st.Decisions["reopened"])
			return err
		}))
	})
}

func TestRequestsOfReviewersThatAreRefused(t *testing.T) {
	web := newSite(t, storetest.SQLite(t))
	i := item(1)
	web.queue(i)
	path := "/reviews/" + i.ID
	for name, tc := range map[string]struct {
		path     string
		form     url.Values
		edit     func(r *http.Request)
		status   int
		contains string
	}{
		"decide without a name":             {path, decision("0", "accepted", ""), func(r *http.Request) { r.Header.Del("Authorization") }, 401, "Please log in."},
		"decide with a wrong password":      {path, decision("0", "accepted", ""), as("anna", "wrong"), 401, "Please log in."},
		"decide as an unknown user":         {path, decision("0", "accepted", ""), as("eve", "secret"), 401, "Please log in."},
		"be made to decide by another site": {path, decision("0", "accepted", ""), func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }, 403, "another site"},
		"be made to by an older browser": {path, decision("0", "accepted", ""), func(r *http.Request) {
			r.Header.Del("Sec-Fetch-Site")
			r.Header.Set("Origin", "https://evil.example")
		}, 403, "another site"},
		"reject without a reason":  {path, decision("0", "rejected", " "), nil, 422, "Say in a few words why"},
		"decide something else":    {path, decision("0", "deleted", "x"), nil, 400, "choose a decision"},
		"leave the revision out":   {path, decision("", "accepted", ""), nil, 400, "incomplete"},
		"put back what waits":      {path, decision("0", "reopened", "x"), nil, 409, "not recorded"},
		"decide on a missing item": {"/reviews/none", decision("0", "accepted", ""), nil, 404, "nothing here"},
		"send more than a form":    {path, decision("0", "accepted", strings.Repeat("x", 1<<17)), nil, 400, "could not be read"},
		"judge a missing alert":    {"/alerts/none", url.Values{"revision": {"0"}, "verdict": {"true"}}, nil, 404, "nothing here"},
	} {
		t.Run(name, func(t *testing.T) {
			edit := tc.edit
			if edit == nil {
				edit = func(*http.Request) {}
			}
			status, body := web.do(http.MethodPost, tc.path, tc.form, edit)
			require.Equal(t, tc.status, status)
			require.Contains(t, body, tc.contains)
		})
	}
	require.Empty(t, web.trail("review_decided"), "none of it changed anything")
}

func TestProxyHeadersAreTrustedOnlyFromConfiguredAddresses(t *testing.T) {
	web := newSite(t, storetest.SQLite(t))
	named := func(names ...string) func(*http.Request) {
		return func(r *http.Request) {
			r.Header.Del("Authorization")
			r.Header["X-Forwarded-User"] = names
		}
	}
	for name, tc := range map[string]struct {
		addresses []string
		names     []string
		status    int
	}{
		"the proxy's address":    {[]string{"10.0.0.0/8", "127.0.0.1"}, []string{"carla"}, 200},
		"the proxy's range":      {[]string{"127.0.0.0/8"}, []string{"carla"}, 200},
		"another address":        {[]string{"10.0.0.7"}, []string{"carla"}, 401},
		"no name":                {[]string{"127.0.0.1"}, nil, 401},
		"a name added by others": {[]string{"127.0.0.1"}, []string{"root", "carla"}, 401},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, web.page.Configure(&Config{Proxy: &ProxyConfig{Header: "X-Forwarded-User", Addresses: tc.addresses}}))
			status, body := web.do(http.MethodGet, "/reviews", nil, named(tc.names...))
			require.Equal(t, tc.status, status)
			if status == http.StatusOK {
				require.Contains(t, body, "<bdi>carla</bdi>")
			}
		})
	}
	require.NoError(t, web.page.Configure(nil))
	status, _ := web.do(http.MethodGet, "/reviews", nil)
	require.Equal(t, http.StatusNotFound, status, "without a configuration nobody can know who decides")
}

func TestListsAreFilteredAndPaged(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		web := newSite(t, s)
		for n := range 30 {
			web.queue(item(n))
		}
		last := item(99)
		last.Model, last.Evaluation, last.Excerpt = "Übersetzer", "toxicity", "100%_sure"
		web.queue(last)
		for name, tc := range map[string]struct {
			query       string
			has, hasNot []string
		}{
			"the first page":        {"", []string{"1–25 of 31", "Page 1 of 2", `rel="next"`}, []string{`rel="prev"`}},
			"the last page":         {"?page=2", []string{"26–31 of 31", `rel="prev"`}, []string{`rel="next"`}},
			"beyond the last page":  {"?page=77", []string{"Nothing waits"}, nil},
			"an invalid page":       {"?page=x", []string{"1–25 of 31"}, nil},
			"a model":               {"?model=%C3%9Cbersetzer", []string{"1–1 of 1", "toxicity"}, []string{"Answer 1:"}},
			"an evaluation":         {"?evaluation=toxicity&state=", []string{"1–1 of 1"}, nil},
			"a text in any case":    {"?q=ANSWER+17:", []string{"1–1 of 1", "Answer 17:"}, nil},
			"a percent sign":        {"?q=100%25_", []string{"1–1 of 1"}, nil},
			"a wildcard is refused": {"?q=A%25r", []string{"Nothing matches"}, nil},
			"what is decided":       {"?state=rejected", []string{"Nothing here yet"}, nil},
			"a hostile filter":      {"?q=%22%3E%3Cscript%3Ealert(1)%3C/script%3E%00", []string{"Nothing matches"}, []string{"<script>alert"}},
		} {
			t.Run(name, func(t *testing.T) {
				status, body := web.do(http.MethodGet, "/reviews"+tc.query, nil)
				require.Equal(t, http.StatusOK, status)
				for _, want := range tc.has {
					require.Contains(t, body, want)
				}
				for _, bad := range tc.hasNot {
					require.NotContains(t, body, bad)
				}
			})
		}
	})
}

func TestVerdictsGiveTimesOfIncidents(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		web := newSite(t, s)
		web.fire("a-1", "MLModelDrift", fired, fired.Add(50*time.Minute))
		web.fire("a-2", "MLDatasetDrift", fired.Add(time.Minute), fired.Add(40*time.Minute))
		web.fire("a-3", "MLModelDrift", fired.Add(-3*time.Hour), fired.Add(-2*time.Hour))
		web.fire("a-4", "MLDatasetStale", fired.Add(-5*time.Hour), time.Time{})
		judge := func(id, revision, verdict, onset string) (int, string) {
			return web.do(http.MethodPost, "/alerts/"+id, url.Values{"revision": {revision}, "verdict": {verdict}, "onset": {onset}, "note": {"A note."}})
		}
		status, body := judge("a-1", "0", "true", "2026-11-24T10:31")
		require.Equal(t, 422, status)
		require.Contains(t, body, "The onset is after the alert fired at 2026-11-24 10:30 UTC.")
		require.Contains(t, body, "A note.", "what was typed is not lost")
		status, body = judge("a-1", "0", "false", "2026-11-24T10:20")
		require.Equal(t, 422, status)
		require.Contains(t, body, "Only a true alert has an incident")
		status, _ = judge("a-1", "0", "true", "soon")
		require.Equal(t, 422, status)
		status, _ = judge("a-1", "0", "perhaps", "")
		require.Equal(t, 422, status)
		require.Empty(t, web.trail("alert_judged"))

		for _, v := range [][]string{{"a-1", "0", "true", "2026-11-24T10:19"}, {"a-2", "0", "true", "2026-11-24T10:19"}, {"a-3", "0", "false", ""}, {"a-4", "0", "true", "2026-11-24T05:00"}} {
			status, body = judge(v[0], v[1], v[2], v[3])
			require.Equal(t, 200, status, body)
			require.Contains(t, body, "The verdict is recorded.")
		}
		status, body = judge("a-3", "0", "true", "")
		require.Equal(t, 409, status)
		require.Contains(t, body, "somebody else judged")
		require.Contains(t, body, `class="reason">A note.</p>`, "what they said is shown")

		require.NoError(t, s.Read(t.Context(), func(tx *store.Tx) error {
			st, err := verdict.ReadStatus(tx)
			require.Equal(t, []float64{1800, 660}, st.ToDetect, "two alerts of one onset are one incident, found with the first")
			require.Equal(t, []float64{61 * 60}, st.ToResolve, "an incident is over with its last alert; one that fires is not")
			require.Equal(t, map[verdict.Key]int64{
				{Alertname: "MLModelDrift", Verdict: "true"}: 1, {Alertname: "MLModelDrift", Verdict: "false"}: 1,
				{Alertname: "MLDatasetDrift", Verdict: "true"}: 1, {Alertname: "MLDatasetStale", Verdict: "true"}: 1,
			}, st.Alerts)
			return err
		}))
		judged := web.trail("alert_judged")
		require.Len(t, judged, 4)
		require.Contains(t, judged[0], `"actor":"anna"`)
		require.Contains(t, judged[0], `"onset":"2026-11-24T10:19:00Z"`)

		status, _ = judge("a-3", "1", "unjudged", "")
		require.Equal(t, 200, status, "a verdict can be withdrawn")
		_, body = web.do(http.MethodGet, "/alerts", nil)
		require.Contains(t, body, "1–1 of 1")
	})
}

func TestTraceLinksNeedPlainIDs(t *testing.T) {
	for id, want := range map[string]string{
		"0af7651916cd43dd8448eb211c80319c": "https://t.example/0af7651916cd43dd8448eb211c80319c",
		"../admin":                         "", "a b": "", "x?y": "", "javascript:alert(1)": "", "": "", strings.Repeat("a", 129): "",
	} {
		require.Equal(t, want, links.Fill("https://t.example/{trace_id}", links.TraceID, id))
	}
	require.Empty(t, links.Fill("", links.TraceID, "0af7"))
}

func TestInvisibleCharactersAreShownAsCodePoints(t *testing.T) {
	require.Equal(t, []segment{{"pay ", false}, {"U+202E", true}, {"evil\n\tمرحبا", false}, {"U+0000", true}, {"U+E0041", true}},
		visible("pay \u202eevil\n\tمرحبا\x00\U000E0041"))
	require.Equal(t, []segment{{"👩\u200d🔬", false}}, visible("👩\u200d🔬"))
	require.Empty(t, visible(""))
}

func TestPageConfigurationIsChecked(t *testing.T) {
	dir := t.TempDir()
	for text, want := range map[string]string{
		`trace_url: "https://t.example/{trace_id}"`:                             "want either users_file or proxy",
		"users_file: u\ntrace_url: 'javascript:{trace_id}'":                     "want an http or https URL with {trace_id} after its host",
		"users_file: u\ntrace_url: 'https://{trace_id}/'":                       "want an http or https URL with {trace_id} after its host",
		"users_file: u\nmlflow_url: 'https://m.example/'":                       "want an http or https URL with {run_id} after its host",
		"proxy: {header: 'X User', addresses: [10.0.0.1]}":                      "want the name of the header with the user",
		"proxy: {header: X-User, addresses: [example.org]}":                     "want an address such as 10.0.0.7",
		"proxy: {header: X-User, addresses: [10.0.0.0/8, 'fd00::1']}":           "",
		"users_file: u\ntrace_url: 'https://t.example/explore?q=%22{trace_id}'": "",
	} {
		path := filepath.Join(dir, "page.yaml")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		_, err := config.Load[Config](path)
		if want == "" {
			require.NoError(t, err, text)
		} else {
			require.ErrorContains(t, err, want, text)
		}
	}
}

// Every field of a page shows text from outside as text.
func TestTextFromOutsideIsEscapedInHTML(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		web := newSite(t, s)
		payload := func(field string) string {
			return `"'><script>pwn` + field + `</script><img src=x onerror=pwn` + field + `>{{.}}javascript:pwn` + field
		}
		evil := item(1)
		fields := reflect.ValueOf(&evil).Elem()
		for i := range fields.NumField() {
			if name := fields.Type().Field(i).Name; name != "ID" && fields.Field(i).Kind() == reflect.String {
				fields.Field(i).SetString(payload(name))
			}
		}
		evil.Version, evil.TraceID, evil.SpanID = evil.Version[:60], evil.TraceID[:60], evil.SpanID[:60]
		web.queue(evil)
		status, body := web.do(http.MethodPost, "/reviews/"+evil.ID, decision("0", "rejected", payload("Reason")))
		require.Less(t, status, 400, body)
		text := func(field string) string {
			quoted, err := json.Marshal(payload(field))
			require.NoError(t, err)
			return string(quoted)
		}
		require.NoError(t, s.Write(t.Context(), func(tx *store.Tx) error {
			_, err := tx.Exec(`INSERT INTO alerts (id, fingerprint, alertname, response, severity, model, dataset, labels, annotations, receiver, starts_at, ends_at, first_received_at, last_received_at, deliveries)
				VALUES ('a1', 'a1', ?, 'retrain', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1)`, payload("Alertname"), payload("Severity"), payload("Model"), payload("Dataset"),
				`{`+text("LabelName")+`:`+text("Label")+`,"alertname":`+text("Alertname")+`,"model":`+text("Model")+`}`,
				`{"summary":`+text("Summary")+`,"description":`+text("Description")+`,"runbook_url":`+text("Runbook")+`,"trace_id":`+text("Trace")+`,"mlflow_run_id":`+text("Run")+`,"action":`+text("Action")+`}`,
				payload("Receiver"), store.Micros(fired), store.Micros(now), store.Micros(fired), store.Micros(fired))
			return err
		}))
		seen := 0
		for _, path := range []string{"/reviews", "/reviews?state=all", "/reviews?q=" + url.QueryEscape(payload("Query")), "/reviews/" + evil.ID, "/alerts", "/alerts?q=" + url.QueryEscape(payload("Query")), "/alerts/a1"} {
			_, body := web.do(http.MethodGet, path, nil)
			seen += strings.Count(body, "pwn")
			for _, markup := range []string{"<script>pwn", "<img src=x", `href="javascript:pwn`, `"'>`} {
				require.NotContains(t, body, markup, path)
			}
		}
		require.Greater(t, seen, 10, "the pages do show them")
	})
}
