package dataquality

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/tables"
)

// What is stored must be what encoding/json writes: what is read back is compared with that, byte by byte.
func TestTheLastGoodSnapshotIsStoredAsEncodingJSONWritesIt(t *testing.T) {
	at := time.Date(2026, 1, 5, 10, 30, 0, 123456789, time.UTC)
	for name, g := range map[string]lastGood{
		"nothing yet":               {},
		"no volume is left":         {Volumes: []volume{}},
		"several volumes":           {Snapshot: snapshot{"a/b", "0011"}, Time: at, Volumes: []volume{{at, 12}, {at.Add(time.Hour), 0}}},
		"a time of another zone":    {Volumes: []volume{{at.In(time.FixedZone("", -5*3600)), -1}}},
		"a name like a field":       {Snapshot: snapshot{Name: `"volumes":null <&>`}, Volumes: []volume{{at, 1}}},
		"everything that there is":  {Time: at, Nulls: map[string]nullShare{"b": {0.5, 2, "2026-01-05", 60}, "a": {}}, Arrived: map[string]float64{"full": 1e-9}, Passed: []passed{{snapshot{"v1", "ff"}, at}}, Watched: at, Volumes: []volume{{at, 1}}},
		"a time with whole seconds": {Volumes: []volume{{at.Truncate(time.Second), 1}}},
	} {
		t.Run(name, func(t *testing.T) {
			var want bytes.Buffer
			e := json.NewEncoder(&want)
			e.SetEscapeHTML(false)
			require.NoError(t, e.Encode(g))
			got, err := g.asJSON()
			require.NoError(t, err)
			assert.Equal(t, string(bytes.TrimSpace(want.Bytes())), string(got))
		})
	}
	far := lastGood{Volumes: []volume{{time.Date(12000, 1, 1, 0, 0, 0, 0, time.UTC), 1}}}
	_, err := far.asJSON()
	require.Error(t, err, "encoding/json refuses such a time too")
}

func TestChangingACloneOfTheLastGoodSnapshotKeepsTheOriginal(t *testing.T) {
	at := time.Date(2026, 1, 5, 10, 0, 0, 0, time.UTC)
	of := lastGood{Volumes: []volume{{at, 1}, {at.Add(time.Hour), 2}}, Nulls: map[string]nullShare{"a": {Share: 0.5}}, Arrived: map[string]float64{"full": 1}}
	before, err := of.asJSON()
	require.NoError(t, err)
	other := of.clone()
	other.accept(snapshot{Name: "later"}, at.Add(volumeKept+30*time.Minute))
	other.noteVolume(3, at.Add(volumeKept+30*time.Minute))
	other.Nulls["a"], other.Arrived["full"] = nullShare{}, 0
	after, err := of.asJSON()
	require.NoError(t, err)
	assert.Equal(t, string(before), string(after))
}

// Digests are stored and compared across versions.
func TestSnapshotDigestIsOfTheJSONOfTheCounts(t *testing.T) {
	schema := []tables.Column{{Name: "amount", Type: "DOUBLE", Class: tables.Float}, {Name: `"<at>"`, Type: "TIMESTAMP", Class: tables.Timestamp}}
	for name, p := range map[string]tables.Profile{
		"nothing":             {},
		"no values":           {Rows: 7, Nulls: map[string]int64{}, Values: map[string]map[string]int64{"amount": nil}},
		"odd names":           {Rows: 3, Nulls: map[string]int64{"é": 1, "a\x00b": 2, "\xff": 3, `q"\`: 4, "a": -5}, Values: map[string]map[string]int64{"amount": {"(5,12.5]": 1, "<5": 2, "\u2028": 3}}},
		"moments":             {Rows: 1, Numbers: map[string]tables.Moments{"amount": {Values: 1, Min: 0.1, Max: 1e300, Mean: 1.0 / 3, Stddev: 2}}},
		"ages of no time col": {Rows: 1, Values: map[string]map[string]int64{`"<at>"`: {"0s": 1}, "amount": {"a": 1}}},
	} {
		for _, timestamp := range []string{"", "event_time"} {
			t.Run(name+" "+timestamp, func(t *testing.T) {
				got, err := digest(schema, p, timestamp, func(_ string, bins map[string]int64) []string { return slices.Sorted(maps.Keys(bins)) })
				require.NoError(t, err)
				assert.Equal(t, digestByReflection(t, schema, p, timestamp), got)
			})
		}
	}
}

func digestByReflection(t *testing.T, schema []tables.Column, p tables.Profile, timestamp string) string {
	t.Helper()
	values, numbers := counted(schema, p, timestamp)
	content, err := json.Marshal(struct {
		Schema  []tables.Column
		Rows    int64
		Nulls   map[string]int64
		Values  map[string]map[string]int64
		Numbers map[string]string
	}{schema, p.Rows, p.Nulls, values, numbers})
	require.NoError(t, err)
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:8])
}
