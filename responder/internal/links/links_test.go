package links

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestDashboardLinksLeadToTheConfiguredGrafana(t *testing.T) {
	t.Parallel()
	at := time.UnixMilli(1_800_000_000_000)
	const span = "from=1799996400000&to=1800003600000"
	for name, tc := range map[string]struct{ base, path, want string }{
		"a path of the rules":            {"https://g.example/", "/d/sightglass-gpu?var-instance=node-7%3A9400", "https://g.example/d/sightglass-gpu?" + span + "&var-instance=node-7%3A9400"},
		"below a path of Grafana":        {"https://g.example/grafana", "/d/x/slug", "https://g.example/grafana/d/x/slug?" + span},
		"without a Grafana":              {"", "/d/x", ""},
		"another host":                   {"https://g.example", "https://evil.example/d/x", ""},
		"another host without a scheme":  {"https://g.example", "//evil.example/d/x", ""},
		"a user that hides another host": {"https://g.example", "@evil.example/d/x", ""},
		"another page of Grafana":        {"https://g.example", "/logout", ""},
		"a way out of the dashboards":    {"https://g.example", "/d/../logout", ""},
		"the same in escapes":            {"https://g.example", "/d/%2e%2e%2flogout", ""},
		"script":                         {"https://g.example", "javascript:alert(1)", ""},
		"nothing":                        {"https://g.example", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tc.want, Dashboard(tc.base, tc.path, at))
		})
	}
}

func TestRunbookLinksMustBeHTTP(t *testing.T) {
	t.Parallel()
	require.Equal(t, "https://r.example/x.md", Runbook("https://r.example/x.md"))
	for _, address := range []string{"", "javascript:alert(1)", "data:text/html,x", "/x", "https:///x", "file:///etc/passwd"} {
		require.Empty(t, Runbook(address), address)
	}
}
