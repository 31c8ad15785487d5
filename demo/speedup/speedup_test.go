package speedup

import (
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/sightglass-ml/sightglass/internal/testtools"
	"github.com/sightglass-ml/sightglass/rules/ruleset"
)

func load(t *testing.T, factor Factor) ruleset.Set {
	t.Helper()
	set, err := factor.Rules()
	require.NoError(t, err)
	return set
}

func find(t *testing.T, set ruleset.Set, match func(rulefmt.Rule) bool) rulefmt.Rule {
	t.Helper()
	for _, group := range set.Groups() {
		for _, rule := range group.Rules {
			if match(rule) {
				return rule
			}
		}
	}
	require.Fail(t, "no such rule")
	return rulefmt.Rule{}
}

func record(name string) func(rulefmt.Rule) bool {
	return func(r rulefmt.Rule) bool { return r.Record == name }
}

func alert(name string) func(rulefmt.Rule) bool {
	return func(r rulefmt.Rule) bool { return r.Alert == name }
}

func TestSpeedupScalesDurations(t *testing.T) {
	set := load(t, 60)

	history := find(t, set, record("dataset:ml_rows:history"))
	require.Contains(t, history.Expr, "last_over_time(dataset:ml_rows:current[30s] offset 2h48m)", "30m and a week, sixty times faster")

	require.Equal(t, "vector(120)", find(t, set, record("ml:threshold:freshness_seconds")).Expr)
	require.Equal(t, "vector(0.05)", find(t, set, record("ml:threshold:null_ratio")).Expr)

	future := find(t, set, alert("MLDatasetFutureRows"))
	require.Equal(t, model.Duration(time.Second), future.For)
	require.Equal(t, model.Duration(10*time.Second), future.KeepFiringFor)

	labels := find(t, set, alert("SightglassLabelLimitReached"))
	require.Contains(t, labels.Expr, "[1m]")
}

func TestSpeedupChangesNothingElse(t *testing.T) {
	plain, fast := load(t, 0).Groups(), load(t, 3600).Groups()
	require.Len(t, fast, len(plain))
	for i := range plain {
		require.Equal(t, plain[i].Name, fast[i].Name)
		require.Len(t, fast[i].Rules, len(plain[i].Rules))
		for j := range plain[i].Rules {
			require.Equal(t, plain[i].Rules[j].Record, fast[i].Rules[j].Record)
			require.Equal(t, plain[i].Rules[j].Alert, fast[i].Rules[j].Alert)
			require.Equal(t, plain[i].Rules[j].Labels, fast[i].Rules[j].Labels)
			require.Equal(t, plain[i].Rules[j].Annotations, fast[i].Rules[j].Annotations)
		}
	}
}

func TestDuration(t *testing.T) {
	for name, test := range map[string]struct {
		speedup    Factor
		have, want time.Duration
	}{
		"no speedup leaves a duration as it is":                {0, 90 * time.Second, 90 * time.Second},
		"a speedup of 1 leaves a duration as it is":            {1, 90 * time.Microsecond, 90 * time.Microsecond},
		"a speedup divides":                                    {60, time.Hour, time.Minute},
		"the result is rounded to a millisecond":               {7, time.Second, 143 * time.Millisecond},
		"no duration becomes shorter than a millisecond":       {1e9, time.Minute, time.Millisecond},
		"none stays none":                                      {60, 0, 0},
		"an offset into the future scales too":                 {60, -time.Hour, -time.Minute},
		"an offset into the future keeps a millisecond at all": {1e9, -time.Minute, -time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, test.want, test.speedup.Duration(test.have))
		})
	}
}

func TestSpeedupOfExpressions(t *testing.T) {
	for name, test := range map[string]struct{ have, want, err string }{
		"ranges and offsets scale":                    {have: `rate(x[5m] offset 1h)`, want: `rate(x[5s] offset 1m)`},
		"a negative offset scales":                    {have: `x offset -1h`, want: `x offset -1m`},
		"a subquery scales in range, step and offset": {have: `max_over_time(x[1d:1h] offset 1w)`, want: `max_over_time(x[24m:1m] offset 2h48m)`},
		"a subquery's default step stays default":     {have: `max_over_time(x[1h:])`, want: `max_over_time(x[1m:])`},
		"a point in time stays":                       {have: `x @ 1700000000 offset 1h`, want: `x @ 1700000000.000 offset 1m`},
		"a number stays":                              {have: `x > 3600`, want: `x > 3600`},
		"a number written as a duration scales":       {have: `x > 1h`, want: `x > 1m`},
		"nested selectors scale once each":            {have: `sum(rate(x[1h])) / sum(rate(y[2h]))`, want: `sum(rate(x[1m])) / sum(rate(y[2m]))`},
		"a calculated duration is refused":            {have: `rate(x[5m * 2])`, err: "cannot be compressed"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Factor(60).compressExpr(test.have)
			if test.err != "" {
				require.ErrorContains(t, err, test.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, test.want, got)
		})
	}
}

func TestSpeedupIsValidated(t *testing.T) {
	for _, speedup := range []float64{-1, 0.5, math.NaN(), math.Inf(1)} {
		_, err := Factor(speedup).Rules()
		require.ErrorContains(t, err, "expected 1 or more", "%v", speedup)
	}
}

func TestLong_WriteDirRoundTrips(t *testing.T) {
	for _, speedup := range []Factor{0, 1, 60, 1e6} {
		set := load(t, speedup)
		dir := t.TempDir()
		paths, err := set.WriteDir(dir)
		require.NoError(t, err)
		require.Len(t, paths, len(set.Files))
		for i, f := range set.Files {
			require.Equal(t, filepath.Join(dir, filepath.FromSlash(f.Name)), paths[i])
			written, committed := readGroups(t, paths[i]), readGroups(t, filepath.Join("..", "..", "rules", filepath.FromSlash(f.Name)))
			require.Equal(t, f.Groups, written)
			if speedup <= 1 {
				require.Equal(t, committed, written)
			}
		}
		output, err := exec.CommandContext(t.Context(), testtools.Path(t, "promtool"), append([]string{"check", "rules", "--lint=all", "--lint-fatal"}, paths...)...).CombinedOutput()
		require.NoError(t, err, "%s", output)
	}
}

// readGroups reads a rule file without the code under test.
func readGroups(t *testing.T, path string) []rulefmt.RuleGroup {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	var groups rulefmt.RuleGroups
	require.NoError(t, yaml.Unmarshal(text, &groups))
	for _, group := range groups.Groups {
		for _, rule := range group.Rules {
			_, err := parser.NewParser(parser.Options{}).ParseExpr(rule.Expr)
			require.NoError(t, err)
		}
	}
	return groups.Groups
}
