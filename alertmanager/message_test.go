package alertmanager

import (
	"encoding/json"
	"flag"
	"fmt"
	"html"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/sightglass-ml/sightglass/demo/slack"
	"github.com/sightglass-ml/sightglass/internal/testtools"
)

var update = flag.Bool("update", false, "write the golden files anew")

// notification is what Alertmanager hands to a template.
type notification struct {
	Receiver          string            `json:"receiver"`
	Status            string            `json:"status"`
	Alerts            []alert           `json:"alerts"`
	GroupLabels       map[string]string `json:"groupLabels"`
	CommonLabels      map[string]string `json:"commonLabels"`
	CommonAnnotations map[string]string `json:"commonAnnotations"`
	ExternalURL       string            `json:"externalURL"`
}

type alert struct {
	Status      string            `json:"status"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    time.Time         `json:"startsAt"`
	EndsAt      time.Time         `json:"endsAt"`
}

func fixture(t *testing.T, name string) notification {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata", name+".json"))
	require.NoError(t, err)
	var n notification
	require.NoError(t, json.Unmarshal(content, &n))
	return n
}

// repeated grows a notification to a number of alerts that differ by column.
func repeated(n notification, count int) notification {
	alerts := make([]alert, count)
	for i := range alerts {
		alerts[i] = n.Alerts[i%len(n.Alerts)]
		alerts[i].Labels = maps.Clone(alerts[i].Labels)
		alerts[i].Labels["column"] = fmt.Sprintf("feature_%03d", i)
	}
	n.Alerts = alerts
	return n
}

// oversized has everything that is shown filled far beyond what fits.
func oversized(count, resolved int, fill string) notification {
	long := fill + strings.Repeat("é", 4000)
	n := notification{Receiver: "ml-oncall", Status: "firing", ExternalURL: "https://alertmanager.example.com"}
	for i := range count {
		a := alert{
			Status:      "firing",
			Labels:      map[string]string{"severity": "critical", "column": fmt.Sprint(i) + long},
			Annotations: map[string]string{"trace_id": long, "mlflow_run_id": long, "runbook_url": "https://" + long, "dashboard": "/" + long},
			StartsAt:    time.Date(2026, 11, 24, 6, 2, 0, 0, time.UTC),
		}
		if i >= count-resolved {
			a.Status, a.EndsAt = "resolved", a.StartsAt.Add(99*24*time.Hour+1*time.Second)
		}
		for _, name := range []string{"summary", "description", "action", "value", "threshold"} {
			a.Annotations[name] = long
		}
		n.Alerts = append(n.Alerts, a)
	}
	if count == resolved {
		n.Status = "resolved"
	}
	shared := map[string]string{"alertname": long, "cluster": long, "namespace": long, "dataset": long, "model": long}
	for _, a := range n.Alerts {
		maps.Copy(a.Labels, shared)
	}
	n.GroupLabels, n.CommonLabels = shared, shared
	if count == 1 {
		n.CommonLabels = n.Alerts[0].Labels
	}
	return n
}

// slackConfig is a receiver's entry in alertmanager.yaml.
type slackConfig struct {
	Channel    string              `yaml:"channel"`
	APIURLFile string              `yaml:"api_url_file"`
	Resolved   bool                `yaml:"send_resolved"`
	Color      string              `yaml:"color"`
	Title      string              `yaml:"title"`
	TitleLink  string              `yaml:"title_link"`
	Fallback   string              `yaml:"fallback"`
	Text       string              `yaml:"text"`
	MrkdwnIn   []string            `yaml:"mrkdwn_in"`
	Actions    []map[string]string `yaml:"actions"`
}

type configFile struct {
	Receivers []struct {
		Name         string        `yaml:"name"`
		SlackConfigs []slackConfig `yaml:"slack_configs"`
	} `yaml:"receivers"`
}

func loadConfig(t *testing.T) configFile {
	t.Helper()
	content, err := Files.ReadFile("alertmanager.yaml")
	require.NoError(t, err)
	var cfg configFile
	require.NoError(t, yaml.Unmarshal(content, &cfg))
	return cfg
}

// render returns the message that Alertmanager would post, made by amtool from the strings in
// alertmanager.yaml, and accepted by the checks of the Slack stand-in.
func render(t *testing.T, n notification) slack.Message {
	t.Helper()
	cfg := loadConfig(t).Receivers[0].SlackConfigs[0]
	data, err := json.Marshal(n)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "data.json")
	require.NoError(t, os.WriteFile(file, data, 0o600))

	const separator = "\x1e"
	parts := []string{cfg.Color, cfg.Title, cfg.TitleLink, cfg.Fallback, cfg.Text}
	for _, a := range cfg.Actions {
		parts = append(parts, a["url"])
	}
	cmd := exec.Command(testtools.Path(t, "amtool"), "template", "render", "--template.glob=templates/*.tmpl",
		"--template.data="+file, "--template.text="+strings.Join(parts, separator))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	rendered := strings.Split(string(out), separator)
	require.Len(t, rendered, len(parts))

	a := slack.Attachment{Color: rendered[0], Title: rendered[1], TitleLink: rendered[2], Fallback: rendered[3], Text: rendered[4], MrkdwnIn: cfg.MrkdwnIn}
	for i, action := range cfg.Actions {
		a.Actions = append(a.Actions, slack.Action{Type: action["type"], Text: action["text"], URL: rendered[5+i]})
	}
	body, err := json.Marshal(slack.Message{Channel: cfg.Channel, Attachments: []slack.Attachment{a}})
	require.NoError(t, err)
	m, err := slack.Parse(body)
	require.NoError(t, err)
	return m
}

func TestMessages(t *testing.T) {
	fixtures := map[string]notification{"two_hundred": repeated(fixture(t, "five"), 200)}
	files, err := filepath.Glob("testdata/*.json")
	require.NoError(t, err)
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		fixtures[name] = fixture(t, name)
	}
	for _, name := range slices.Sorted(maps.Keys(fixtures)) {
		t.Run(name, func(t *testing.T) {
			got := golden(render(t, fixtures[name]).Attachments[0])
			file := filepath.Join("testdata", name+".golden")
			if *update {
				require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
			}
			want, err := os.ReadFile(file)
			require.NoError(t, err)
			require.Equal(t, string(want), got)
		})
	}
}

// golden is the attachment as posted, not as shown: markup and addresses are what can go wrong.
func golden(a slack.Attachment) string {
	var b strings.Builder
	fmt.Fprintf(&b, "color:    %s\ntitle:    %s\nlink:     %s\nfallback: %s\n\n%s\n\n", a.Color, a.Title, a.TitleLink, a.Fallback, a.Text)
	for _, action := range a.Buttons() {
		fmt.Fprintf(&b, "[%s] %s\n", action.Text, action.URL)
	}
	return b.String()
}

func TestAMessageFitsSlackWhateverTheAlertsHold(t *testing.T) {
	for size, counts := range map[string][2]int{
		"one alert":           {1, 0},
		"one resolved":        {1, 1},
		"a list":              {200, 0},
		"a list and resolved": {200, 100},
		"all resolved":        {200, 200},
	} {
		for text, fill := range map[string]string{
			"escaped":   "&&&&",                  // The most that is escaped, and so grows.
			"an action": strings.Repeat("&", 30), // The most that is escaped in an action.
			"replaced":  strings.Repeat("&<>", 1000),
		} {
			t.Run(size+", "+text, func(t *testing.T) {
				a := render(t, oversized(counts[0], counts[1], fill)).Attachments[0] // Its limits are checked.
				require.NotContains(t, a.Text, "&&")
			})
		}
	}
}

// A statement of the maximum published length can be copied from the message of one alert. The message of several has none.
func TestLongSQLIsShownCompleteOrNotAtAll(t *testing.T) {
	n := fixture(t, "statement")
	_, statement, found := strings.Cut(n.Alerts[0].Annotations["action"], "List the rows with: ")
	require.True(t, found)
	require.Len(t, statement, 1000+len(";"))
	require.Contains(t, html.UnescapeString(render(t, n).Attachments[0].Text), statement)
	several := render(t, fixture(t, "statements")).Attachments[0].Text
	require.NotContains(t, several, "SELECT")
}

func TestHostileNamesMentionNobodyAndBreakNoLink(t *testing.T) {
	m := render(t, fixture(t, "hostile"))
	a := m.Attachments[0]
	require.NotContains(t, a.Title+a.Fallback+a.Text, "<!channel")
	require.NotContains(t, a.Text, "<https://evil")
	require.Equal(t, 4, strings.Count(a.Text, "\n"), "a line break in a name or an annotation breaks no line")
	require.Equal(t, 1, strings.Count(a.Text, "<"), "the date is the only markup")
	for _, b := range a.Buttons() {
		require.NotEqual(t, "Runbook", b.Text, "javascript: is no runbook")
		require.NotEqual(t, "Trace", b.Text)
		require.NotEqual(t, "MLflow run", b.Text)
	}
}

func TestOnlyChannelWebhookAndResolutionDifferBetweenReceivers(t *testing.T) {
	receivers := loadConfig(t).Receivers
	model := receivers[0].SlackConfigs[0]
	for _, r := range receivers {
		if r.Name == "responder" || r.Name == "watchdog" {
			continue // Machines.
		}
		require.Len(t, r.SlackConfigs, 1)
		cfg := r.SlackConfigs[0]
		require.Equal(t, "#"+r.Name, cfg.Channel)
		require.Equal(t, "/etc/alertmanager/secrets/slack-"+r.Name, cfg.APIURLFile)
		require.Equal(t, r.Name != "ml-digest", cfg.Resolved, "a digest has no second half")
		cfg.Channel, cfg.APIURLFile, cfg.Resolved = model.Channel, model.APIURLFile, model.Resolved
		require.Equal(t, model, cfg)
	}
}
