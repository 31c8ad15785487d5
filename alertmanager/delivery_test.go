package alertmanager

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/prometheus/alertmanager/pkg/labels"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/sightglass-ml/sightglass/demo/slack"
	"github.com/sightglass-ml/sightglass/demo/stack"
	"github.com/sightglass-ml/sightglass/internal/testtools"
)

// server is a real Alertmanager with the shipped configuration, hurried a thousandfold, and its Slack.
type server struct {
	*stack.Alertmanager
	ctx  context.Context
	sink *slack.Sink
}

func start(t *testing.T, files fs.FS) server {
	t.Helper()
	return startTool(t, testtools.Path(t, "alertmanager"), files)
}

func startTool(t *testing.T, path string, files fs.FS) server {
	t.Helper()
	s, err := stack.New(stack.Config{Dir: t.TempDir(), Tools: stack.Tools{Alertmanager: path}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, errors.New("the test took over a minute"))
	t.Cleanup(cancel)
	sink, slackURL, err := s.StartSlack(ctx, 1000)
	require.NoError(t, err)
	am, err := s.StartAlertmanager(ctx, stack.AlertmanagerConfig{Files: files, SlackURL: slackURL, SpeedUp: 1000})
	require.NoError(t, err)
	return server{am, ctx, sink}
}

func (s server) post(t *testing.T, alerts ...stack.Alert) {
	t.Helper()
	require.NoError(t, s.Post(s.ctx, alerts...))
}

// message waits for one whose title or text matches.
func (s server) message(t *testing.T, pattern string) slack.Message {
	t.Helper()
	re := regexp.MustCompile(pattern)
	m, err := s.sink.Wait(s.ctx, func(m slack.Message) bool {
		return re.MatchString(m.Attachments[0].Title + "\n" + m.Attachments[0].Text)
	})
	require.NoError(t, err, pattern)
	require.NoError(t, s.sink.LastRejection())
	return m
}

// status waits until Alertmanager has decided on an alert as wanted.
func (s server) status(t *testing.T, want func(stack.AlertStatus) bool, matchers ...string) {
	t.Helper()
	for {
		alerts, err := s.Alerts(s.ctx, matchers...)
		require.NoError(t, err)
		if len(alerts) == 1 && want(alerts[0]) {
			return
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-s.ctx.Done():
			t.Fatalf("%v: %+v", context.Cause(s.ctx), alerts)
		}
	}
}

func newAlert(text string) stack.Alert {
	a := stack.Alert{Labels: map[string]string{}}
	for _, pair := range strings.Fields(text) {
		name, value, _ := strings.Cut(pair, "=")
		a.Labels[name] = value
	}
	return a
}

func TestEachReceiverPostsToItsOwnWebhookAndChannel(t *testing.T) {
	s := start(t, Files)
	for receiver, labels := range map[string]string{
		"ml-oncall":   "alertname=A severity=critical",
		"ml-alerts":   "alertname=B severity=warning",
		"ml-digest":   "alertname=C severity=info",
		"ml-cost":     "alertname=D severity=critical layer=business",
		"ml-platform": "alertname=SightglassE severity=warning",
	} {
		a := newAlert(labels)
		s.post(t, a)
		m := s.message(t, `^\[\w+\] `+a.Labels["alertname"]+`\b`)
		require.Equal(t, "#"+receiver, m.Channel)
		require.Equal(t, "/slack-"+receiver, m.Path)
	}
}

func TestAnIncidentOpensGrowsAndResolves(t *testing.T) {
	s := start(t, Files)
	alerts := make([]stack.Alert, 200)
	for i := range alerts {
		alerts[i] = newAlert(fmt.Sprintf("alertname=MLDatasetNullRatioHigh severity=warning layer=data dataset=orders column=c%03d", i))
	}
	s.post(t, alerts[:1]...)
	s.message(t, `^\[WARNING\] MLDatasetNullRatioHigh: orders · c000`)
	s.post(t, alerts...)
	m := s.message(t, `^\[WARNING ×200\] MLDatasetNullRatioHigh: orders`)
	require.Contains(t, m.Attachments[0].Text, "|and 195 more>")

	for i := range alerts {
		alerts[i].EndsAt = time.Now()
	}
	s.post(t, alerts...)
	m = s.message(t, `^\[RESOLVED`)
	require.Equal(t, "good", m.Attachments[0].Color)
	require.Contains(t, m.Attachments[0].Text, " after ")
}

// Each case has an object of its own, so that all share one server without meeting.
func TestInhibition(t *testing.T) {
	cases := []struct {
		name, critical, other string
		inhibited             bool
	}{
		{"a column's critical silences its warning", "layer=data dataset=d1 column=a", "layer=data dataset=d1 column=a severity=warning", true},
		{"and its info", "layer=data dataset=d2 column=a", "layer=data dataset=d2 column=a severity=info", true},
		{"not the warning of another column", "layer=data dataset=d3 column=a", "layer=data dataset=d3 column=b severity=warning", false},
		{"not the warning of its dataset", "layer=data dataset=d4 column=a", "layer=data dataset=d4 severity=warning", false},
		{"a dataset's critical silences its warning", "layer=data dataset=d5", "layer=data dataset=d5 severity=warning", true},
		{"and that of its columns", "layer=data dataset=d6", "layer=data dataset=d6 column=a severity=warning", true},
		{"not that of another dataset", "layer=data dataset=d7", "layer=data dataset=d7x severity=warning", false},
		{"not that of its namesake in another cluster", "layer=data dataset=d8 cluster=east", "layer=data dataset=d8 cluster=west severity=warning", false},
		{"not that of its namesake in another namespace", "layer=data dataset=d9 namespace=a", "layer=data dataset=d9 severity=warning", false},
		{"not another critical", "layer=data dataset=d10", "layer=data dataset=d10 column=a severity=critical", false},
		{"not that of another layer", "layer=data dataset=d11", "layer=model dataset=d11 severity=warning", false},
		{"a model's critical silences no other warning about it", "layer=model model=m1", "layer=model model=m1 severity=warning", false},
		{"nor a version's", "layer=model model=m3 version=3", "layer=model model=m3 version=3 severity=warning", false},
		{"a GPU's critical silences its warning", "layer=infrastructure instance=h1 gpu=0", "layer=infrastructure instance=h1 gpu=0 severity=warning", true},
		{"not that of another GPU", "layer=infrastructure instance=h2 gpu=0", "layer=infrastructure instance=h2 gpu=1 severity=warning", false},
		{"not that of the same index in another host", "layer=infrastructure instance=h3 gpu=0", "layer=infrastructure instance=h4 gpu=0 severity=warning", false},
		{"a department's critical silences its warning", "layer=business department=p1", "layer=business department=p1 severity=warning", true},
		{"labels missing on both are no object", "layer=data", "layer=data severity=warning", false},
		{"nor without a layer", "job=x", "job=x severity=warning", false},
		{"nor is a layer missing on both", "dataset=d12", "dataset=d12 severity=warning", false},
		{"an index alone is no GPU", "layer=infrastructure gpu=7", "layer=infrastructure gpu=7 severity=warning", false},
		// The last, because Alertmanager reads alerts in order: once this one is inhibited, all are decided.
		{"the last", "layer=data dataset=last", "layer=data dataset=last severity=warning", true},
	}
	s := start(t, Files)
	critical := make([]stack.Alert, len(cases))
	other := make([]stack.Alert, len(cases))
	for i, tc := range cases {
		critical[i] = newAlert(fmt.Sprintf("alertname=Critical%d severity=critical %s", i, tc.critical))
		other[i] = newAlert(fmt.Sprintf("alertname=Other%d %s", i, tc.other))
	}
	last := len(cases) - 1
	s.post(t, critical...)
	s.post(t, other[last])
	s.status(t, inhibited, fmt.Sprintf(`alertname="Other%d"`, last))
	s.post(t, other...)

	for i, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			matcher := fmt.Sprintf(`alertname="Other%d"`, i)
			s.message(t, fmt.Sprintf(`^\[CRITICAL\] Critical%d\b`, i))
			if tc.inhibited {
				s.status(t, inhibited, matcher)
				return
			}
			s.status(t, func(a stack.AlertStatus) bool { return a.Status.State == "active" }, matcher)
			s.message(t, fmt.Sprintf(`^\[\w+\] Other%d\b`, i))
		})
	}
	for _, m := range s.sink.Messages() {
		for i, tc := range cases {
			if tc.inhibited {
				require.NotRegexp(t, fmt.Sprintf(`Other%d\b`, i), m.Attachments[0].Title)
			}
		}
	}
}

func TestHallucinationInhibitsGroundedness(t *testing.T) {
	s := start(t, Files)
	s.post(t, newAlert("alertname=MLModelHallucinationRateHigh severity=critical layer=model model=bot version=3"))
	s.message(t, `^\[CRITICAL\] MLModelHallucinationRateHigh`)
	s.post(t, newAlert("alertname=MLModelGroundednessLow severity=warning layer=model model=bot version=3"),
		newAlert("alertname=MLModelGroundednessLow severity=warning layer=model model=bot version=4"))
	s.status(t, inhibited, `alertname="MLModelGroundednessLow"`, `version="3"`)
	s.status(t, func(a stack.AlertStatus) bool { return a.Status.State == "active" }, `alertname="MLModelGroundednessLow"`, `version="4"`)
}

func inhibited(a stack.AlertStatus) bool {
	return a.Status.State == "suppressed" && len(a.Status.InhibitedBy) > 0
}

func TestOnlyWarningsThatCanWaitAreMuted(t *testing.T) {
	s := start(t, alwaysOffHours(t))
	s.post(t, newAlert("alertname=MayWait severity=warning notify=working-hours"), newAlert("alertname=MayNot severity=warning"),
		newAlert("alertname=Critical severity=critical notify=working-hours"))
	s.message(t, `^\[WARNING\] MayNot`)
	s.message(t, `^\[CRITICAL\] Critical`)
	s.status(t, func(a stack.AlertStatus) bool {
		return len(a.Status.MutedBy) == 1 && a.Status.MutedBy[0] == "off-hours"
	}, `alertname="MayWait"`)
	for _, m := range s.sink.Messages() {
		require.NotContains(t, m.Attachments[0].Title, "MayWait")
	}
}

// alwaysOffHours is the shipped configuration at night.
func alwaysOffHours(t *testing.T) fs.FS {
	t.Helper()
	content, err := Files.ReadFile("alertmanager.yaml")
	require.NoError(t, err)
	var doc map[string]any
	require.NoError(t, yaml.Unmarshal(content, &doc))
	doc["time_intervals"] = []any{map[string]any{"name": "off-hours", "time_intervals": []any{map[string]any{}}}}
	content, err = yaml.Marshal(doc)
	require.NoError(t, err)
	files := fstest.MapFS{"alertmanager.yaml": {Data: content}}
	templates, err := fs.Glob(Files, "templates/*")
	require.NoError(t, err)
	for _, name := range templates {
		content, err := Files.ReadFile(name)
		require.NoError(t, err)
		files[name] = &fstest.MapFile{Data: content}
	}
	return files
}

func TestTheSilenceButtonMatchesItsAlert(t *testing.T) {
	for name, hostile := range map[string]string{
		"a plain name":       "orders_daily_fact",
		"a name with spaces": "orders of the day",
		"a quote":            `say "hi"`,
		"a backslash":        `C:\orders`,
		"line breaks":        "two\r\nlines",
		"URL characters":     `a+b&c=d?e#f%20/g`,
		"matcher characters": `{a="b",c=~"d"}`,
		"regular expression": `^(a|b)*[c].+?"`,
		"unicode":            `données "déjà" 漢字`,
		"markup":             `<!channel> & <https://example.com|x>`,
	} {
		t.Run(name, func(t *testing.T) {
			want := map[string]string{"alertname": "MLDatasetDrift", "severity": "critical", "layer": "data", "dataset": hostile}
			n := fixture(t, "hostile")
			n.Alerts[0].Labels, n.CommonLabels = want, want
			buttons := render(t, n).Attachments[0].Buttons()
			link := buttons[len(buttons)-1]
			require.Equal(t, "Silence", link.Text)
			u, err := url.Parse(link.URL)
			require.NoError(t, err)
			page, query, _ := strings.Cut(u.EscapedFragment(), "?")
			require.Equal(t, "/silences/new", page)
			require.NotContains(t, query, "+", "the page does not read + as a space")
			values, err := url.ParseQuery(query)
			require.NoError(t, err)
			filter := values.Get("filter")
			require.NotContains(t, filter, `\`, "the page does not undo escapes")

			matchers, err := labels.ParseMatchers(filter)
			require.NoError(t, err)
			require.Len(t, matchers, len(want))
			for _, m := range matchers {
				require.True(t, m.Matches(want[m.Name]), m.String())
			}
		})
	}
}

func TestASilenceOfAListCoversTheListOnly(t *testing.T) {
	n := fixture(t, "five")
	buttons := render(t, n).Attachments[0].Buttons()
	u, err := url.Parse(buttons[len(buttons)-1].URL)
	require.NoError(t, err)
	_, query, _ := strings.Cut(u.EscapedFragment(), "?")
	values, err := url.ParseQuery(query)
	require.NoError(t, err)
	matchers, err := labels.ParseMatchers(values.Get("filter"))
	require.NoError(t, err)
	matches := func(set map[string]string) bool {
		for _, m := range matchers {
			if !m.Matches(set[m.Name]) {
				return false
			}
		}
		return true
	}
	for _, a := range n.Alerts {
		require.True(t, matches(a.Labels))
	}
	elsewhere := maps.Clone(n.Alerts[0].Labels)
	elsewhere["dataset"] = "orders"
	require.False(t, matches(elsewhere))
}

func TestBrokenValuesInhibitDriftOfTheSameField(t *testing.T) {
	s := start(t, Files)
	s.post(t, newAlert("alertname=MLModelInputBroken severity=warning layer=model model=fraud version=3 field=amount"),
		newAlert("alertname=MLDatasetBroken severity=warning layer=data dataset=payments column=amount"))
	s.message(t, `MLModelInputBroken`)
	s.message(t, `MLDatasetBroken`)
	s.post(t, newAlert("alertname=MLModelDrift severity=warning layer=model model=fraud version=3 field=amount"),
		newAlert("alertname=MLModelDrift severity=warning layer=model model=fraud version=3 field=country"),
		newAlert("alertname=MLDatasetDrift severity=warning layer=data dataset=payments column=amount"),
		newAlert("alertname=MLDatasetNullRatioHigh severity=warning layer=data dataset=payments column=country"))
	s.status(t, inhibited, `alertname="MLModelDrift"`, `field="amount"`)
	s.status(t, inhibited, `alertname="MLDatasetDrift"`)
	active := func(a stack.AlertStatus) bool { return a.Status.State == "active" }
	s.status(t, active, `alertname="MLModelDrift"`, `field="country"`)
	s.status(t, active, `alertname="MLDatasetNullRatioHigh"`)
}
