package alertmanager

import (
	"cmp"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/alertmanager/timeinterval"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/sightglass-ml/sightglass/internal/testtools"
)

func TestTheConfigurationIsValid(t *testing.T) {
	out, err := exec.Command(testtools.Path(t, "amtool"), "check-config", "alertmanager.yaml").CombinedOutput()
	require.NoError(t, err, string(out))
}

func TestRoutes(t *testing.T) {
	for name, tc := range map[string]struct {
		labels    []string
		receivers string
	}{
		"a critical data alert pages":                      {[]string{"alertname=MLDatasetStale", "severity=critical", "layer=data", "dataset=orders"}, "responder,ml-oncall"},
		"a critical model alert pages":                     {[]string{"alertname=MLModelGroundednessLow", "severity=critical", "layer=model", "model=a"}, "responder,ml-oncall"},
		"a critical infrastructure alert pages":            {[]string{"alertname=MLGPULost", "severity=critical", "layer=infrastructure"}, "responder,ml-oncall"},
		"an alert a machine acts on pages people as well":  {[]string{"alertname=MLModelDrift", "severity=critical", "layer=model", "response=retrain"}, "responder,ml-oncall"},
		"a warning does not page":                          {[]string{"alertname=MLDatasetNullRatioHigh", "severity=warning", "layer=data", "dataset=orders"}, "responder,ml-alerts"},
		"a warning that may wait goes to the same channel": {[]string{"alertname=MLDatasetDrift", "severity=warning", "layer=data", "notify=working-hours"}, "responder,ml-alerts"},
		"what is only good to know waits for the digest":   {[]string{"alertname=MLGPUIdle", "severity=info", "layer=infrastructure"}, "responder,ml-digest"},
		"a business warning goes to those who pay":         {[]string{"alertname=MLCostIdleGPUWaste", "severity=warning", "layer=business"}, "responder,ml-cost"},
		"a critical business alert goes to them too":       {[]string{"alertname=MLCostMonthEndOverBudget", "severity=critical", "layer=business"}, "responder,ml-cost"},
		"an alert about ourselves goes to the platform":    {[]string{"alertname=SightglassExporterDown", "severity=critical"}, "ml-platform"},
		"the watchdog goes to who waits for it":            {[]string{"alertname=SightglassWatchdog", "severity=info", "layer=infrastructure"}, "watchdog"},
		"whatever its severity and layer":                  {[]string{"alertname=SightglassLabelLimitReached", "severity=info", "layer=business"}, "ml-platform"},
		"an unknown severity is not lost":                  {[]string{"alertname=Other", "severity=page", "layer=data"}, "responder,ml-alerts"},
		"an alert without any of our labels is not lost":   {[]string{"alertname=Other"}, "responder,ml-alerts"},
		"a critical alert without a layer pages":           {[]string{"alertname=Other", "severity=critical"}, "responder,ml-oncall"},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"config", "routes", "test", "--config.file=alertmanager.yaml", "--verify.receivers=" + tc.receivers}, tc.labels...)
			out, err := exec.Command(testtools.Path(t, "amtool"), args...).CombinedOutput()
			require.NoError(t, err, string(out))
		})
	}
}

func TestTheExampleOfOtherReceiversRoutesToTeams(t *testing.T) {
	const file = "../examples/alertmanager/pagerduty-opsgenie-teams-email.yml"
	out, err := exec.CommandContext(t.Context(), testtools.Path(t, "amtool"), "check-config", file).CombinedOutput()
	require.NoError(t, err, string(out))
	for labels, receiver := range map[string]string{
		"alertname=MLDatasetStale severity=critical layer=data owner=fraud":                      "pagerduty-fraud",
		"alertname=MLModelHallucinationRateHigh severity=critical layer=model owner=search":      "opsgenie-search",
		"alertname=MLDatasetStale severity=critical layer=data":                                  "pagerduty-oncall",
		"alertname=MLDatasetStale severity=critical layer=data owner=unheard":                    "pagerduty-oncall",
		"alertname=MLDatasetDrift severity=warning layer=data owner=fraud":                       "slack-fraud",
		"alertname=MLDatasetDrift severity=warning layer=data owner=search":                      "teams",
		"alertname=MLGPULost severity=critical layer=infrastructure":                             "pagerduty-oncall",
		"alertname=MLCostMonthEndOverBudget severity=warning layer=business department=research": "e-mail-research",
		"alertname=MLCostDataStale severity=warning layer=business":                              "e-mail",
		"alertname=MLGPUIdle severity=info layer=infrastructure":                                 "e-mail",
		"alertname=SightglassWatchdog severity=info":                                             "heartbeat",
	} {
		args := append([]string{"config", "routes", "test", "--config.file=" + file, "--verify.receivers=" + receiver}, strings.Fields(labels)...)
		out, err := exec.CommandContext(t.Context(), testtools.Path(t, "amtool"), args...).CombinedOutput()
		require.NoError(t, err, "%s: %s", labels, out)
	}
}

// amtool's check does not run templates, and Alertmanager only does when an alert fires.
func TestTheExampleOfOtherReceiversRendersItsMessages(t *testing.T) {
	content, err := os.ReadFile("../examples/alertmanager/pagerduty-opsgenie-teams-email.yml")
	require.NoError(t, err)
	var file struct{ Receivers []yaml.Node }
	require.NoError(t, yaml.Unmarshal(content, &file))
	const separator = "\x1e"
	var parts []string
	var collect func(n *yaml.Node)
	collect = func(n *yaml.Node) {
		if n.Kind == yaml.ScalarNode && strings.Contains(n.Value, "{{") {
			parts = append(parts, n.Value)
		}
		for _, c := range n.Content {
			collect(c)
		}
	}
	for i := range file.Receivers {
		collect(&file.Receivers[i])
	}
	require.Greater(t, len(parts), 10)
	for data, title := range map[string]string{
		"one":  "MLDatasetDrift: A column drifted from its baseline.",
		"five": "MLDatasetNullRatioHigh: A column has too many missing values.",
	} {
		out, err := exec.CommandContext(t.Context(), testtools.Path(t, "amtool"), "template", "render", "--template.glob=templates/*.tmpl",
			"--template.data=testdata/"+data+".json", "--template.text="+strings.Join(parts, separator)).CombinedOutput()
		require.NoError(t, err, string(out))
		rendered := strings.Split(string(out), separator)
		require.Len(t, rendered, len(parts))
		require.NotContains(t, string(out), "<no value>")
		require.Contains(t, rendered, title)
	}
}

// The comment at the responder's route names two safeguards. The test removes each of them from the configuration.
func TestWithoutContinueOrTheLastRouteAnAlertWouldReachNoPerson(t *testing.T) {
	content, err := Files.ReadFile("alertmanager.yaml")
	require.NoError(t, err)
	for name, tc := range map[string]struct{ cut, label string }{
		"continue":       {"      continue: true\n", "severity=critical"},
		"the last route": {"    - receiver: ml-alerts\n\ntime_intervals:", "severity=page"},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, 1, strings.Count(string(content), tc.cut))
			file := filepath.Join(t.TempDir(), "alertmanager.yaml")
			with := ""
			if strings.HasSuffix(tc.cut, "time_intervals:") {
				with = "time_intervals:"
			}
			require.NoError(t, os.WriteFile(file, []byte(strings.Replace(string(content), tc.cut, with, 1)), 0o600))
			out, err := exec.Command(testtools.Path(t, "amtool"), "config", "routes", "test", "--config.file="+file,
				"--verify.receivers=responder", "alertname=MLModelDrift", "response=retrain", tc.label).CombinedOutput()
			require.NoError(t, err, string(out))
		})
	}
}

func TestOffHoursAreNightsAndWeekends(t *testing.T) {
	for sentence, tc := range map[string]struct {
		zone, hours string
		muted       map[string]bool // by the time in the zone
	}{
		"in Toronto, as the file has it": {"", "", map[string]bool{
			"Tue 2026-11-24 07:59": true, "Tue 2026-11-24 08:00": false, "Tue 2026-11-24 17:59": false, "Tue 2026-11-24 18:00": true, "Tue 2026-11-24 23:59": true,
			"Sat 2026-11-28 12:00": true, "Sun 2026-11-29 12:00": true, "Mon 2026-11-30 00:00": true,
			"Mon 2026-07-06 08:00": false, // Daylight saving time.
		}},
		"in another zone": {"Europe/Berlin", "", map[string]bool{"Tue 2026-11-24 07:59": true, "Tue 2026-11-24 08:00": false, "Tue 2026-11-24 18:00": true}},
		"at other hours": {"Asia/Kolkata", "09:30-20:00", map[string]bool{
			"Tue 2026-11-24 09:29": true, "Tue 2026-11-24 09:30": false, "Tue 2026-11-24 19:59": false, "Tue 2026-11-24 20:00": true, "Sat 2026-11-28 12:00": true,
		}},
	} {
		t.Run(sentence, func(t *testing.T) {
			hours, err := ParseHours(tc.zone, tc.hours)
			require.NoError(t, err)
			files, err := Current(hours)
			require.NoError(t, err)
			var cfg struct {
				TimeIntervals []struct {
					Name          string                      `yaml:"name"`
					TimeIntervals []timeinterval.TimeInterval `yaml:"time_intervals"`
				} `yaml:"time_intervals"`
			}
			require.NoError(t, yaml.Unmarshal(files["alertmanager.yaml"], &cfg))
			require.Len(t, cfg.TimeIntervals, 1)
			require.Equal(t, "off-hours", cfg.TimeIntervals[0].Name)
			zone, err := time.LoadLocation(cmp.Or(tc.zone, "America/Toronto"))
			require.NoError(t, err)
			for at, muted := range tc.muted {
				moment, err := time.ParseInLocation("Mon 2006-01-02 15:04", at, zone)
				require.NoError(t, err)
				contains := false
				for _, interval := range cfg.TimeIntervals[0].TimeIntervals {
					contains = contains || interval.ContainsTime(moment.UTC())
				}
				require.Equal(t, muted, contains, at)
			}
			dir := t.TempDir()
			for name, content := range files {
				path := filepath.Join(dir, filepath.FromSlash(name))
				require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
				require.NoError(t, os.WriteFile(path, content, 0o600))
			}
			out, err := exec.CommandContext(t.Context(), testtools.Path(t, "amtool"), "check-config", filepath.Join(dir, "alertmanager.yaml")).CombinedOutput()
			require.NoError(t, err, string(out))
		})
	}
}

func TestInvalidWorkingHoursAreRefused(t *testing.T) {
	for _, tc := range [][3]string{
		{"Toronto", "", `time zone "Toronto": want a name such as America/Toronto or UTC`},
		{"Local", "", `time zone "Local": want a name such as America/Toronto or UTC`},
		{"UTC", "8-18", `working hours "8-18": want two times of one day, the earlier first, such as 08:00-18:00`},
		{"UTC", "18:00-08:00", `working hours "18:00-08:00": want two times of one day, the earlier first, such as 08:00-18:00`},
		{"UTC", "08:00", `working hours "08:00": want two times of one day, the earlier first, such as 08:00-18:00`},
	} {
		_, err := ParseHours(tc[0], tc[1])
		require.EqualError(t, err, tc[2])
	}
}
