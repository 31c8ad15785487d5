package incident

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	prometheus "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/responder/internal/audit"
	"github.com/sightglass-ml/sightglass/responder/internal/grouping"
	"github.com/sightglass-ml/sightglass/responder/internal/store"
	"github.com/sightglass-ml/sightglass/responder/internal/store/storetest"
)

var start = time.Date(2026, 11, 24, 6, 0, 0, 0, time.UTC)

// desk is an engine with a clock of its own over a store.
type desk struct {
	t      *testing.T
	store  *store.Store
	engine *Engine
	now    time.Time
	series map[string][]*model.Sample
	down   bool
}

func newDesk(t *testing.T, s *store.Store) *desk {
	d := &desk{t: t, store: s, now: start, series: map[string][]*model.Sample{}}
	d.restart()
	return d
}

// restart replaces the responder by a new process.
func (d *desk) restart() {
	d.engine = New(d.store, func() time.Time { return d.now })
}

// Query implements lineage.Querier.
func (d *desk) Query(_ context.Context, query string, _ time.Time, _ ...prometheus.Option) (model.Value, prometheus.Warnings, prometheus.Infos, error) {
	if d.down {
		return nil, nil, nil, errors.New("connection refused")
	}
	for text, samples := range d.series {
		if strings.Contains(query, text) {
			return model.Vector(samples), nil, nil, nil
		}
	}
	return model.Vector{}, nil, nil, nil
}

func (d *desk) has(query string, value float64, pairs ...string) {
	m := model.Metric{}
	for i := 0; i < len(pairs); i += 2 {
		m[model.LabelName(pairs[i])] = model.LabelValue(pairs[i+1])
	}
	d.series[query] = append(d.series[query], &model.Sample{Metric: m, Value: model.SampleValue(value)})
}

func (d *desk) at(clock string) {
	var day, h, m int
	_, err := fmt.Sscanf(clock, "%d %d:%d", &day, &h, &m)
	require.NoError(d.t, err)
	d.now = time.Date(2026, 11, 23+day, h, m, 0, 0, time.UTC)
}

// fire stores an alert that begins now, as the webhook does.
func (d *desk) fire(id string, labels ...string) {
	d.t.Helper()
	l := map[string]string{"severity": "warning"}
	for i := 0; i < len(labels); i += 2 {
		l[labels[i]] = labels[i+1]
	}
	text, err := json.Marshal(l)
	require.NoError(d.t, err)
	annotations := `{"summary":"s","description":"It is 3 of 2.","action":"Look at the mapping.","dashboard":"/d/sightglass-data-quality?var-dataset=payments","runbook_url":"https://runbooks.example/x.md"}`
	require.NoError(d.t, d.store.Write(d.t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(`INSERT INTO alerts (id, fingerprint, alertname, response, severity, model, dataset, labels, annotations, receiver, starts_at, ends_at, first_received_at, last_received_at, deliveries)
			VALUES (?, ?, ?, '', ?, ?, ?, ?, ?, 'r', ?, 0, ?, ?, 1)`, id, "f"+id, l["alertname"], l["severity"], l["model"], l["dataset"], string(text), annotations,
			store.Micros(d.now), store.Micros(d.now), store.Micros(d.now))
		return err
	}))
}

func (d *desk) resolve(ids ...string) {
	d.t.Helper()
	for _, id := range ids {
		d.exec(`UPDATE alerts SET ends_at = ? WHERE id = ?`, store.Micros(d.now), id)
	}
}

// repeat sends the alerts again, as Alertmanager does every hour.
func (d *desk) repeat() {
	d.t.Helper()
	d.exec(`UPDATE alerts SET last_received_at = ? WHERE ends_at = 0`, store.Micros(d.now))
}

func (d *desk) exec(query string, args ...any) {
	d.t.Helper()
	require.NoError(d.t, d.store.Write(d.t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(query, args...)
		return err
	}))
}

func (d *desk) update() {
	d.t.Helper()
	require.NoError(d.t, d.engine.Lineage(d.t.Context(), d))
	require.NoError(d.t, d.engine.Update(d.t.Context()))
}

func (d *desk) list(state string) (all []Summary) {
	d.t.Helper()
	require.NoError(d.t, d.store.Read(d.t.Context(), func(tx *store.Tx) (err error) {
		all, _, err = List(tx, Filter{State: state}, 500, 0)
		return err
	}))
	return all
}

func (d *desk) only() *View {
	d.t.Helper()
	all := d.list("")
	require.Len(d.t, all, 1)
	return d.view(all[0].ID)
}

func (d *desk) view(id string) (v *View) {
	d.t.Helper()
	require.NoError(d.t, d.store.Read(d.t.Context(), func(tx *store.Tx) (err error) {
		v, err = Get(tx, id, Links{Grafana: "https://grafana.example"})
		return err
	}))
	return v
}

// payments is the lineage of a table of payments and the model that it feeds.
func (d *desk) payments() {
	d.has("ml_model_dataset_info", 1, "namespace", "serving", "model", "fraud", "dataset", "payments", "dataset_namespace", "data")
	d.has("model:ml_inference_requests:rate5m", 1, "namespace", "serving", "model", "fraud", "version", "7")
	d.has("ml_cost_spend_cad_total", 1, "department", "risk", "model", "fraud")
}

var drift = []string{"alertname", "MLDatasetDrift", "layer", "data", "namespace", "data", "dataset", "payments", "column", "merchant_category"}

func TestUnmappedProviderIsOneIncidentUntilItEnds(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		d := newDesk(t, s)
		d.payments()
		d.at("1 06:02")
		cause := []string{"namespace", "data", "dataset", "payments", "column", "merchant_category", "signal", "drift_psi", "cause_column", "payment_provider", "cause_value", "newpay"}
		d.has("_cause_info", 0.97, cause...)
		d.has("_cause_rows_ratio", 0.05, cause...)
		d.has("_cause_first_seen", float64(d.now.Unix()), cause...)
		d.at("1 06:10")
		d.fire("a", drift...)
		d.update()
		v := d.only()
		id := v.ID
		require.Equal(t, "MLDatasetDrift of dataset payments", v.Title)
		require.Equal(t, "payment_provider = newpay in dataset payments", v.Cause)
		require.Greater(t, v.Confidence, 0.9)

		// Two days later the model drifts, long after the responder was restarted, and the first drift is the window's no more.
		d.at("3 05:00")
		d.repeat()
		delete(d.series, "_cause_info")
		d.restart()
		d.at("3 05:30")
		d.fire("b", "alertname", "MLModelDrift", "layer", "model", "cluster", "prod", "namespace", "serving", "model", "fraud", "version", "7", "field", "merchant_category", "severity", "critical")
		d.update()
		v = d.only()
		require.Equal(t, id, v.ID, "it is the same incident")
		require.Equal(t, "critical", v.Severity)
		require.Equal(t, "payment_provider = newpay in dataset payments", v.Cause, "what explained the change is not forgotten with the series")
		var objects []string
		for _, o := range v.Objects {
			objects = append(objects, o.Name+": "+o.Role)
		}
		require.Equal(t, []string{"payments: probable cause", "fraud version 7: related", "fraud: consequence", "risk: related"}, objects)
		require.Equal(t, "feeds", v.Edges[0].Why)
		require.Contains(t, v.Members[0].Links[0].URL, "https://grafana.example/d/sightglass-data-quality?from=17954970")

		require.NoError(t, d.store.Write(t.Context(), func(tx *store.Tx) error { return Acknowledge(tx, id, "anna", d.now.Add(10*time.Minute)) }))
		require.NoError(t, d.store.Write(t.Context(), func(tx *store.Tx) error { return Acknowledge(tx, id, "ben", d.now.Add(time.Hour)) }))
		require.Equal(t, []string{Acknowledged, "anna"}, []string{d.only().State, d.only().AcknowledgedBy}, "the first who did counts")

		d.at("3 09:00")
		d.resolve("a", "b")
		d.update()
		v = d.only()
		require.Equal(t, Resolved, v.State)
		require.Equal(t, Times{8 * time.Minute, 47*time.Hour + 30*time.Minute, 50*time.Hour + 50*time.Minute}, v.Times())

		// It is quiet: nothing is written.
		before := d.trail()
		d.update()
		require.Equal(t, before, d.trail())
		require.Equal(t, 1, strings.Count(before, `"incident_opened"`))
		require.Equal(t, 1, strings.Count(before, `"incident_acknowledged"`))
		require.Equal(t, 1, strings.Count(before, `"incident_resolved"`))

		// Within the window it goes on, later it is another one.
		d.at("3 09:40")
		d.fire("c", drift...)
		d.update()
		require.Equal(t, id, d.only().ID)
		d.resolve("c")
		d.update()
		d.at("3 11:00")
		d.fire("d", drift...)
		d.update()
		require.Len(t, d.list(""), 2)
		require.Len(t, d.list(Unresolved), 1)
	})
}

func (d *desk) trail() string {
	d.t.Helper()
	var out strings.Builder
	_, err := audit.Export(d.t.Context(), d.store, &out)
	require.NoError(d.t, err)
	return out.String()
}

func TestAReleaseBeforeTheFirstAlertIsTheProbableCause(t *testing.T) {
	d := newDesk(t, storetest.SQLite(t))
	d.payments()
	d.at("1 09:57")
	d.update()
	d.series["model:ml_inference_requests:rate5m"][0].Metric["version"] = "8"
	d.at("1 09:58")
	require.NoError(t, d.engine.Lineage(t.Context(), d))
	d.restart() // What was in use before is known after a restart.
	d.at("1 10:02")
	d.fire("a", "alertname", "MLInferenceLatencyAnomaly", "layer", "model", "namespace", "serving", "model", "fraud", "version", "8")
	d.fire("b", "alertname", "MLInferenceQueueDominates", "layer", "model", "namespace", "serving", "model", "fraud", "version", "8")
	d.update()
	v := d.only()
	require.Equal(t, "Version 8 of fraud began to serve", v.Cause)
	require.Contains(t, v.Causes[0].Evidence[0].Text, "at 2026-11-24 09:58 UTC, 4 min before the first alert")
	require.Equal(t, 4*time.Minute, v.Times().Detect)

	var text, markdown strings.Builder
	require.NoError(t, v.WriteText(&text, 100))
	require.Contains(t, text.String(), "Probable cause: Version 8 of fraud began to serve (89 %)")
	require.Contains(t, text.String(), "Look at the mapping.")
	require.NoError(t, v.WritePostmortem(&markdown))
	require.Contains(t, markdown.String(), "| time to detect | 4 min 0 s, from its beginning to the first alert |")
	require.Contains(t, markdown.String(), "| time to acknowledge | not known |")
}

func TestWithoutPrometheusLabelsAndLinksJoin(t *testing.T) {
	d := newDesk(t, storetest.SQLite(t))
	d.at("1 10:00")
	d.fire("a", "alertname", "MLDatasetRowDropHigh", "layer", "data", "dataset", "payments", "upstream", "raw")
	d.fire("b", "alertname", "MLDatasetStale", "layer", "data", "dataset", "raw")
	d.fire("c", "alertname", "MLDatasetStale", "layer", "data", "dataset", "weather")
	require.NoError(t, d.engine.Lineage(t.Context(), nil))
	require.NoError(t, d.engine.Update(t.Context()))
	all := d.list("")
	require.Len(t, all, 2, "the upstream of a label is a relation")
	require.Contains(t, d.view(all[0].ID).Notes[0], "no Prometheus is configured")

	d.fire("d", "alertname", "MLDatasetStale", "layer", "data", "namespace", "data", "dataset", "x")
	d.fire("e", "alertname", "MLModelDrift", "layer", "model", "namespace", "data", "model", "y")
	require.NoError(t, d.engine.Update(t.Context()))
	require.Len(t, d.list(""), 3, "those of one namespace that begin together are one")
}

func TestIncidentsSayThatPrometheusIsDown(t *testing.T) {
	d := newDesk(t, storetest.SQLite(t))
	d.payments()
	d.at("1 10:00")
	d.update()
	d.down = true
	d.at("1 10:30")
	require.ErrorContains(t, d.engine.Lineage(t.Context(), d), "connection refused")
	d.fire("a", drift...)
	d.fire("b", "alertname", "MLModelDrift", "layer", "model", "namespace", "serving", "model", "fraud")
	require.NoError(t, d.engine.Update(t.Context()))
	require.Contains(t, d.only().Notes[0], "since 2026-11-24 10:00 UTC; what it said then is used")
	answered, failed := d.engine.Queries()
	require.Positive(t, answered)
	require.Positive(t, failed)
	d.at("1 17:00")
	require.NoError(t, d.engine.Update(t.Context()))
	require.Contains(t, d.only().Notes[0], "Prometheus could not be asked", "an incident stays together all the same")
}

func TestIncidentsThatTurnOutToBeRelatedBecomeOne(t *testing.T) {
	d := newDesk(t, storetest.SQLite(t))
	d.payments()
	d.at("1 10:00")
	d.fire("b", "alertname", "MLModelDrift", "layer", "model", "namespace", "serving", "model", "fraud")
	d.fire("c", "alertname", "MLDatasetStale", "layer", "data", "namespace", "data", "dataset", "unrelated")
	d.update()
	require.Len(t, d.list(""), 2)
	d.at("1 10:06")
	d.fire("a", drift...)
	d.update()
	all := d.list("")
	require.Len(t, all, 2)
	v := d.view(all[0].ID)
	if len(v.Members) == 1 {
		v = d.view(all[1].ID)
	}
	require.Equal(t, []string{"payments", "fraud"}, []string{v.Members[0].Object.Name, v.Members[1].Object.Name}, "upstream comes first, though it was seen later")
	d.has("ml_dataset_upstream_rows", 1, "namespace", "data", "dataset", "payments", "upstream", "unrelated")
	d.update()
	v = d.only()
	require.Equal(t, 3, v.Alerts)
	require.Contains(t, d.trail(), `"incident_merged"`)
}

func TestAlertStormIsOneListAndFewIncidents(t *testing.T) {
	d := newDesk(t, storetest.SQLite(t))
	d.payments()
	d.at("1 10:00")
	for n := range 150 {
		d.fire(fmt.Sprint("p", n), "alertname", "MLDatasetNullRatioHigh", "layer", "data", "namespace", "data", "dataset", "payments", "column", fmt.Sprint("c", n))
		d.fire(fmt.Sprint("o", n), "alertname", "MLDatasetProfileFailing", "layer", "data", "namespace", "data", "dataset", fmt.Sprint("d", n))
	}
	d.update()
	all := d.list("")
	require.Len(t, all, 2)
	for _, s := range all {
		v := d.view(s.ID)
		require.LessOrEqual(t, len(v.Members), mostMembers)
		require.Equal(t, 150, v.Alerts)
	}
	require.NoError(t, d.store.Read(t.Context(), func(tx *store.Tx) error {
		id, err := Of(tx, "MLDatasetProfileFailing")
		require.True(t, strings.HasPrefix(id, "others-"), id)
		s, statusErr := ReadStatus(tx)
		require.Equal(t, Status{Open: 2, Opened: 2, Alerts: 300}, s)
		return errors.Join(err, statusErr)
	}))
	require.NoError(t, d.store.Write(t.Context(), func(tx *store.Tx) error {
		return errors.Join(Forget(tx, d.now.Add(time.Hour), d.now.Add(30*24*time.Hour)))
	}))
	require.Len(t, d.list(""), 2, "what is not over is kept")
}

func TestTextFromOutsideDoesNothingInATerminalOrAWiki(t *testing.T) {
	evil := "\x1b[31m<img src=x onerror=alert(1)> [click](javascript:alert(1)) \u202e`code`\n# heading | https://evil.example"
	d := newDesk(t, storetest.SQLite(t))
	d.at("1 10:00")
	d.fire("a", "alertname", evil, "dataset", evil, "column", evil, "namespace", evil)
	d.update()
	v := d.only()
	v.Members[0].Description, v.Members[0].Action = evil, evil
	v.AcknowledgedBy = evil
	var text, markdown strings.Builder
	require.NoError(t, v.WriteText(&text, 80))
	require.NotContains(t, text.String(), "\x1b")
	require.NotContains(t, text.String(), "\u202e")
	require.NoError(t, v.WritePostmortem(&markdown))
	for _, bad := range []string{"\x1b", "\u202e", "<img", " [click]", " `code", "\n# heading", "https://evil"} {
		require.NotContains(t, markdown.String(), bad)
	}
}

func TestASegmentOfStagingDoesNotReplaceOneOfProduction(t *testing.T) {
	production := grouping.Segment{Node: grouping.Node{Kind: grouping.Dataset, Namespace: "ml", Name: "payments"}, Column: "country", Signal: "unseen_ratio", Cause: "provider = newpay"}
	staging := production
	staging.Node.Namespace = "staging"
	g := &grouping.Group{Members: []grouping.Member{{Node: production.Node}}}
	require.Contains(t, keepSegments(g, []grouping.Segment{production}, []grouping.Segment{staging}), production)
}
