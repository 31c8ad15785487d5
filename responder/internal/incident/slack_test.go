package incident

import (
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/demo/slack"
	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/responder/internal/grouping"
	"github.com/sightglass-ml/sightglass/responder/internal/store"
	"github.com/sightglass-ml/sightglass/responder/internal/store/storetest"
)

// channel is a desk that sends its incidents to a fake Slack, which checks messages like Slack.
type channel struct {
	*desk
	announcer *Announcer
	sink      *slack.Sink
	calls     int
	// refuse answers in place of Slack until it returns false.
	refuse func(w http.ResponseWriter) bool
}

func newChannel(t *testing.T, s *store.Store) *channel {
	sink, err := slack.NewSink(100)
	require.NoError(t, err)
	c := &channel{desk: newDesk(t, s), sink: sink}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.calls++
		if c.refuse != nil && c.refuse(w) {
			return
		}
		sink.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	token := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(token, []byte("xoxb-1"), 0o600))
	var cfg struct {
		Slack SlackConfig `yaml:"slack"`
	}
	require.NoError(t, config.Decode("responder.yaml", fmt.Appendf(nil, "slack: {channel: '#ml-incidents', token: {file: %s}, url: %s/api/}\n", token, server.URL), &cfg))
	c.announcer = NewAnnouncer(s, func() time.Time { return c.now })
	require.NoError(t, c.announcer.Configure(&cfg.Slack, Links{Page: "https://responder.example", Grafana: "https://grafana.example"}))
	return c
}

// tell lets time pass until there is nothing more to tell.
func (c *channel) tell() {
	c.t.Helper()
	for before := -1; before != c.calls; {
		before = c.calls
		c.now = c.now.Add(settle)
		require.NoError(c.t, c.announcer.Send(c.t.Context()))
	}
}

func TestIncidentIsOneSlackMessageThatIsUpdated(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		c := newChannel(t, s)
		c.payments()
		c.at("1 06:10")
		c.fire("a", drift...)
		c.fire("i", "alertname", "MLGPUIdle", "severity", "info", "uuid", "GPU-9", "layer", "infrastructure")
		c.update()
		c.tell()
		messages := c.sink.Messages()
		require.Len(t, messages, 1, "info is told to nobody by default")
		require.Equal(t, "#ml-incidents", messages[0].Channel)
		require.Equal(t, "[WARNING] MLDatasetDrift of dataset payments", messages[0].Text)
		require.Equal(t, "https://responder.example/incidents/"+c.list("")[0].ID, strings.Replace(messages[0].Attachments[0].TitleLink, c.list("")[1].ID, c.list("")[0].ID, 1))
		require.Contains(t, messages[0].Attachments[0].Text, "*No probable cause is known.*\n*Alerts* 1, 1 firing   *Since* <!date^")
		require.Contains(t, messages[0].Attachments[0].Text, "<https://grafana.example/d/sightglass-data-quality?from=")
		calls := c.calls
		c.tell()
		require.Equal(t, calls, c.calls, "nothing changed, so nothing is told")

		c.fire("b", "alertname", "MLModelDrift", "layer", "model", "severity", "critical", "namespace", "serving", "model", "fraud")
		c.update()
		c.announcer = c.announcer.restarted()
		c.tell()
		c.exec(`INSERT INTO actions (id, alert_id, name, action, object, params, state, result, target_id, attempts, last_error, not_before, lease_owner, lease_until, created_at, first_tried_at, started_at, finished_at)
			VALUES ('k', 'b', 'retrain-fraud', 'retrain', 'model/fraud', '{}', 'suppressed', 'held', '', 0, '', 0, '', 0, ?, 0, 0, 0)`, store.Micros(c.now))
		c.tell()
		require.Len(t, c.sink.Messages(), 1)
		m := c.sink.Messages()[0]
		require.Equal(t, 2, m.Updates)
		require.Equal(t, "[CRITICAL] MLDatasetDrift of dataset payments and 1 more", m.Text)
		require.Contains(t, m.Attachments[0].Text, "*Probable cause* Trouble with dataset payments (64 %)")
		require.Contains(t, m.Attachments[0].Text, "*Action* retrain-fraud on model/fraud: held back: the data are broken")
		require.Contains(t, m.Attachments[0].Text, "*Affected* dataset payments, model fraud")

		require.NoError(t, s.Write(t.Context(), func(tx *store.Tx) error { return Acknowledge(tx, c.incidentOf("b"), "anna", c.now) }))
		c.tell()
		require.Contains(t, c.sink.Messages()[0].Attachments[0].Text, "*Looked after by* anna")
		c.resolve("a", "b")
		c.update()
		c.tell()
		m = c.sink.Messages()[0]
		require.True(t, strings.HasPrefix(m.Text, "[RESOLVED after "), m.Text)
		require.Equal(t, "good", m.Attachments[0].Color)
		require.NoError(t, c.sink.LastRejection())
		sent, failed := c.announcer.Messages()
		require.Equal(t, []uint64{4, 0}, []uint64{sent, failed})
	})
}

// restarted returns the channel after a restart of the responder.
func (a *Announcer) restarted() *Announcer {
	b := NewAnnouncer(a.store, a.now)
	b.target.Store(a.target.Load())
	return b
}

// incidentOf is the ID of the incident of an alert.
func (c *channel) incidentOf(alert string) (id string) {
	c.t.Helper()
	require.NoError(c.t, c.store.Read(c.t.Context(), func(tx *store.Tx) (err error) {
		id, err = Of(tx, alert)
		return err
	}))
	return id
}

func TestErrorsOfSlackAreHandled(t *testing.T) {
	c := newChannel(t, storetest.SQLite(t))
	c.at("1 06:10")
	c.fire("a", drift...)
	c.update()
	send := func(after time.Duration) error {
		c.now = c.now.Add(after)
		return c.announcer.Send(t.Context())
	}
	c.refuse = func(w http.ResponseWriter) bool {
		w.Header().Set("Retry-After", "30")
		w.WriteHeader(http.StatusTooManyRequests)
		return true
	}
	require.ErrorContains(t, send(0), "Slack answers ratelimited")
	require.ErrorContains(t, send(29*time.Second), "Slack answers ratelimited", "the collector fails as long as nothing gets through")
	require.Equal(t, 1, c.calls, "it is left alone for as long as it says")
	c.refuse = func(w http.ResponseWriter) bool {
		_, _ = w.Write([]byte(`{"ok":false,"error":"invalid_auth"}`))
		return true
	}
	require.ErrorContains(t, send(2*time.Second), "Slack answers invalid_auth")
	require.ErrorContains(t, send(5*time.Second), "invalid_auth")
	require.Equal(t, 2, c.calls, "the pause grows")
	c.refuse = nil
	require.NoError(t, send(time.Minute))
	require.Len(t, c.sink.Messages(), 1)

	// Somebody deletes the message: the next state is a new one.
	c.exec(`UPDATE incidents SET slack_ts = '1.000001'`)
	c.fire("b", drift...)
	c.update()
	require.ErrorContains(t, send(time.Minute), "message_not_found")
	require.NoError(t, send(3*time.Second))
	require.Len(t, c.sink.Messages(), 2)
	require.Zero(t, c.sink.Messages()[1].Updates)
	sent, failed := c.announcer.Messages()
	require.Equal(t, []uint64{2, 3}, []uint64{sent, failed})
}

func TestAlertStormSendsFewMessages(t *testing.T) {
	c := newChannel(t, storetest.SQLite(t))
	c.payments()
	c.at("1 10:00")
	for n := range 30 {
		for k := range 10 {
			id := fmt.Sprintf("%d-%d", n, k)
			c.fire(id, "alertname", "MLDatasetNullRatioHigh", "layer", "data", "dataset", fmt.Sprint("d", k), "column", fmt.Sprint("c", n), "namespace", "data")
		}
		c.now = c.now.Add(2 * time.Second)
		c.update()
		require.NoError(t, c.announcer.Send(t.Context()))
	}
	c.tell()
	require.LessOrEqual(t, len(c.sink.Messages()), 10)
	require.LessOrEqual(t, c.calls, 90, "a call for each message at most every ten seconds")
	require.NoError(t, c.sink.LastRejection(), "each is within Slack's limits")
}

func TestTextFromOutsidePagesNobodyInSlack(t *testing.T) {
	evil := strings.Repeat("<!channel> <@U1> & `x` \x00\u202e", 200)
	v := &View{Summary: Summary{ID: "abc", Title: evil, State: Open, Cause: evil, Severity: evil, AcknowledgedBy: evil}}
	v.Causes = append(v.Causes, testCause(evil))
	v.Members = []Alert{{Action: evil, Links: []Link{{"Runbook", "https://x.example/" + evil}}}}
	v.Actions = []Action{{Name: evil, Object: evil, Why: evil}}
	m := v.message(Links{Page: "https://r.example"})
	require.NotContains(t, m.Text, "<!")
	require.NotContains(t, m.Attachments[0].Text, "<!channel")
	require.NotContains(t, m.Attachments[0].Text, "<@")
	require.Less(t, len([]rune(m.Attachments[0].Text)), 3000)
}

// The statement that lists the rows is in the action. A message that is too long leaves out other lines.
func TestLongMessageKeepsTheSummary(t *testing.T) {
	statement := "SELECT * FROM payments AS t WHERE amount <= 5 AND provider IN ('" + strings.Repeat("x", 925) + "') LIMIT 100;"
	action := strings.Repeat("a", 250) + " List the rows with: " + statement
	v := &View{Summary: Summary{ID: "abc", State: Open, Cause: "payment_provider = newpay"}}
	v.Causes = append(v.Causes, testCause(strings.Repeat("e", 250)))
	v.Members = []Alert{{Action: action, Links: []Link{{"Runbook", "https://x.example/" + strings.Repeat("r", 500)}}}}
	v.Actions = []Action{{Name: "first", Why: strings.Repeat("w", 120)}, {Name: "last", Why: strings.Repeat("w", 120)}}
	text := v.message(Links{Page: "https://r.example"}).Attachments[0].Text
	require.Contains(t, html.UnescapeString(text), statement)
	require.Contains(t, text, "*Probable cause* payment_provider = newpay")
	require.Contains(t, text, "|Runbook>")
	require.NotContains(t, text, "*Action* last")
	require.Less(t, len([]rune(text)), 3000)

	v.Members[0].Action += strings.Repeat("y", 200)
	require.Contains(t, v.message(Links{}).Attachments[0].Text, "yyy…", "a statement that is too long is cut visibly")
}

func TestSlackConfigurations(t *testing.T) {
	for text, want := range map[string]string{
		"{token: {env: T}}":                                          "channel: \"\"; want the ID or the name of a channel",
		"{channel: '#a b', token: {env: T}}":                         "channel: \"#a b\"; want the ID",
		"{channel: C1}":                                              "token: missing; want {file: PATH} or {env: NAME}",
		"{channel: C1, token: {env: T}, url: 'ftp://x'}":             "url: \"ftp://x\"; want an http or https URL",
		"{channel: C1, token: {env: T}, url: 'https://a:b@x/api'}":   "want an http or https URL without credentials",
		"{channel: C1, token: {env: T}, severities: [page]}":         "severities: \"page\"; want some of critical, warning, info",
		"{channel: C1, token: {env: T}, http_client: {nonsense: 1}}": "http_client: is not valid",
	} {
		var cfg struct {
			Slack SlackConfig `yaml:"slack"`
		}
		require.ErrorContains(t, config.Decode("responder.yaml", []byte("slack: "+text+"\n"), &cfg), want, text)
	}
}

func testCause(text string) grouping.Cause {
	return grouping.Cause{Title: text, Confidence: 0.9, Evidence: []grouping.Evidence{{Text: text}, {Text: text}, {Text: text}, {Text: text}}}
}
