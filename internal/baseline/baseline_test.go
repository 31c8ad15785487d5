package baseline

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/thanos-io/objstore"

	"github.com/sightglass-ml/sightglass/internal/binning"
)

var update = flag.Bool("update", false, "write the files in testdata anew")

func testDefinition() Definition {
	return Definition{
		Edges:  EdgesTraining,
		Schema: []Column{{"amount", "DOUBLE"}, {"merchant \"category\"\n", "VARCHAR"}},
		Fields: map[string]binning.Layout{
			"amount":                  binning.NewNumeric([]float64{5, 12.5, 12.5}, true),
			"merchant \"category\"\n": binning.NewCategorical([]string{"<grocery>", "fuel", "日本"}, 2, false),
		},
	}
}

// countsOf is what the days of all tests hold. It is the oracle too: no two sets
// of days have the same sum.
func countsOf(definition string, days ...Day) Counts {
	c := Counts{Definition: definition, Fields: map[string]map[string]int64{"amount": {}}}
	for _, d := range days {
		start, err := d.Start()
		if err != nil {
			panic(err)
		}
		n := int64(1) << start.YearDay() // Tests use the first days of a year.
		c.Rows += n
		c.Fields["amount"]["(-Inf,5]"] += 2 * n
		c.Fields["amount"][string(d)]++
	}
	return c
}

func day(n int) Day { return DayOf(time.Date(2026, 1, n, 12, 0, 0, 0, time.UTC)) }

func days(from, to int) []Day {
	var ds []Day
	for n := from; n <= to; n++ {
		ds = append(ds, day(n))
	}
	return ds
}

// onEachStore runs a test on a folder and on an object store. Inside, time
// passes only while everything waits.
func onEachStore(t *testing.T, test func(t *testing.T, open func() *Store)) {
	t.Run("folder", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "a", "b")
		synctest.Test(t, func(t *testing.T) {
			test(t, func() *Store { return openFolder(t, dir) })
		})
	})
	t.Run("object store", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			bucket := objstore.NewInMemBucket()
			test(t, func() *Store { return New(bucket) })
		})
	})
}

func openFolder(t testing.TB, dir string) *Store {
	s, err := Open(Folder(dir), nil, nil)
	require.NoError(t, err)
	return s
}

func view(t testing.TB, b *Subject) *View {
	t.Helper()
	v, err := b.View(t.Context())
	require.NoError(t, err)
	return v
}

func production(t testing.TB, b *Subject, wantDays int) Production {
	t.Helper()
	p, err := view(t, b).Production(t.Context(), wantDays)
	require.NoError(t, err)
	return p
}

func TestABaselineIsLearnedAndFrozen(t *testing.T) {
	onEachStore(t, func(t *testing.T, open func() *Store) {
		ctx := t.Context()
		b := open().Subject("dataset", "orders")

		v := view(t, b)
		_, err := v.Definition(ctx)
		require.ErrorIs(t, err, ErrNotFound)
		require.EqualError(t, err, "definition of dataset/orders is not in the store")
		_, err = v.Training(ctx)
		require.ErrorIs(t, err, ErrNotFound)
		_, err = v.Production(ctx, 30)
		require.ErrorIs(t, err, ErrNotFound)
		_, err = b.AddDay(ctx, day(1), Counts{})
		require.ErrorIs(t, err, ErrNotFound)

		def, err := b.CreateDefinition(ctx, testDefinition())
		require.NoError(t, err)
		require.Equal(t, testDefinition().Fields, def.Fields)
		require.Len(t, def.ID, 64)
		require.WithinDuration(t, time.Now(), def.Created, time.Minute)

		_, err = view(t, b).Training(ctx)
		require.ErrorIs(t, err, ErrNotFound)
		_, err = b.Freeze(ctx)
		require.EqualError(t, err, "dataset/orders has no production day yet, so there is nothing to freeze")
		training, err := b.CreateTraining(ctx, countsOf(def.ID, day(9)))
		require.NoError(t, err)
		require.Equal(t, countsOf(def.ID, day(9)), training)
		training, err = b.CreateTraining(ctx, countsOf(def.ID, day(8)))
		require.NoError(t, err)
		require.Equal(t, countsOf(def.ID, day(9)), training, "the first one stays")

		require.Empty(t, production(t, b, 3).Days)
		for _, n := range []int{2, 1, 2} {
			_, err := b.AddDay(ctx, day(n), countsOf(def.ID, day(n)))
			require.NoError(t, err)
		}
		added, err := b.AddDay(ctx, day(1), countsOf(def.ID, day(5)))
		require.NoError(t, err)
		require.False(t, added, "a day is added once")
		p := production(t, b, 3)
		require.False(t, p.Frozen())
		require.Equal(t, days(1, 2), p.Days)
		require.Equal(t, countsOf(def.ID, days(1, 2)...), p.Counts)

		for _, n := range []int{4, 3} {
			added, err := b.AddDay(ctx, day(n), countsOf(def.ID, day(n)))
			require.NoError(t, err)
			require.True(t, added)
		}
		require.Equal(t, days(1, 4), production(t, b, 0).Days, "0 only reads")
		p = production(t, b, 3)
		require.True(t, p.Frozen())
		require.Equal(t, days(1, 3), p.Days, "the first days, not those that came first")
		require.Equal(t, countsOf(def.ID, days(1, 3)...), p.Counts)
		added, err = b.AddDay(ctx, day(6), countsOf(def.ID, day(6)))
		require.NoError(t, err)
		require.False(t, added, "a frozen baseline takes no more days")
		again, err := b.Freeze(ctx)
		require.NoError(t, err)
		require.Equal(t, p, again)

		// Another process sees the same.
		other := open().Subject("dataset", "orders")
		require.Equal(t, p, production(t, other, 5))
		got, err := other.CreateDefinition(ctx, Definition{Edges: EdgesProduction})
		require.NoError(t, err)
		require.Equal(t, def, got)
		ids, err := open().List(ctx)
		require.NoError(t, err)
		require.Equal(t, []ID{{"dataset", "orders"}}, ids)
	})
}

func TestAResetStartsANewGenerationAndKeepsTheOld(t *testing.T) {
	onEachStore(t, func(t *testing.T, open func() *Store) {
		ctx := t.Context()
		store := open()
		running, admin := store.Subject("dataset", "orders"), open().Subject("dataset", "orders")
		def, err := running.CreateDefinition(ctx, testDefinition())
		require.NoError(t, err)
		_, err = running.CreateTraining(ctx, countsOf(def.ID, day(20)))
		require.NoError(t, err)
		_, err = running.AddDay(ctx, day(1), countsOf(def.ID, day(1)))
		require.NoError(t, err)
		require.True(t, production(t, running, 1).Frozen())
		before, err := store.list(ctx, running.dir)
		require.NoError(t, err)

		require.NoError(t, admin.Reset(ctx, PartProduction))
		p := production(t, running, 1)
		require.False(t, p.Frozen())
		require.Empty(t, p.Days)
		require.Zero(t, p.Counts.Rows)
		_, err = view(t, running).Training(ctx)
		require.NoError(t, err, "the training baseline was not reset")
		added, err := running.AddDay(ctx, day(1), countsOf(def.ID, day(1)))
		require.NoError(t, err)
		require.True(t, added, "the day is new in this generation")

		require.NoError(t, admin.Reset(ctx, PartTraining))
		_, err = view(t, running).Training(ctx)
		require.ErrorIs(t, err, ErrNotFound)
		require.Equal(t, days(1, 1), production(t, running, 0).Days)

		stale := view(t, running)
		require.NoError(t, admin.Reset(ctx, PartDefinition))
		old, err := stale.Production(ctx, 1)
		require.NoError(t, err, "a view stays what it was")
		require.Equal(t, days(1, 1), old.Days)
		_, err = view(t, running).Definition(ctx)
		require.ErrorIs(t, err, ErrNotFound)
		second, err := running.CreateDefinition(ctx, testDefinition())
		require.NoError(t, err)
		require.NotEqual(t, def.ID, second.ID)
		require.Empty(t, production(t, running, 1).Days)

		_, err = running.AddDay(ctx, day(2), countsOf(def.ID, day(2)))
		require.ErrorIs(t, err, ErrOtherBins)
		_, err = running.CreateTraining(ctx, countsOf(def.ID, day(2)))
		require.ErrorIs(t, err, ErrOtherBins)

		require.EqualError(t, admin.Reset(ctx, "everything"),
			`dataset/orders cannot be reset: "everything" is not a part or there were too many resets`)
		after, err := store.list(ctx, running.dir)
		require.NoError(t, err)
		for stem := range before {
			require.Contains(t, after, stem, "nothing is deleted")
		}
	})
}

func TestTheLastGoodSnapshotIsReplaced(t *testing.T) {
	type snapshot struct{ Digest string }
	onEachStore(t, func(t *testing.T, open func() *Store) {
		ctx := t.Context()
		b := open().Subject("dataset", "orders")
		var got snapshot
		v := view(t, b)
		require.ErrorIs(t, v.LastGood(ctx, &got), ErrNotFound)
		for _, digest := range []string{"<a>", "<b>", "<b>"} {
			require.NoError(t, v.SetLastGood(ctx, snapshot{digest}))
			require.NoError(t, v.LastGood(ctx, &got))
			require.Equal(t, snapshot{digest}, got)
		}
		require.NoError(t, view(t, open().Subject("dataset", "orders")).LastGood(ctx, &got))
		require.Equal(t, snapshot{"<b>"}, got)
		require.NoError(t, view(t, open().Subject("dataset", "orders")).SetLastGood(ctx, snapshot{"<c>"}))
		require.NoError(t, view(t, b).LastGood(ctx, &got))
		require.Equal(t, snapshot{"<c>"}, got, "another replica has written it meanwhile")
		require.NoError(t, b.Reset(ctx, PartLastGood))
		require.ErrorIs(t, view(t, b).LastGood(ctx, &got), ErrNotFound)
	})
}

func TestReplicasAgreeOnTheFirstWriter(t *testing.T) {
	onEachStore(t, func(t *testing.T, open func() *Store) {
		const replicas = 8
		ctx := t.Context()
		definitions := make([]Definition, replicas)
		training := make([]Counts, replicas)
		frozen := make([]Production, replicas)
		added := make([]int, replicas)
		done := make(chan error, replicas)
		for r := range replicas {
			go func() {
				done <- func() (err error) {
					b := open().Subject("dataset", "orders")
					mine := testDefinition()
					mine.Schema[0].Type = fmt.Sprint("TYPE ", r)
					if definitions[r], err = b.CreateDefinition(ctx, mine); err != nil {
						return err
					}
					id := definitions[r].ID
					if training[r], err = b.CreateTraining(ctx, countsOf(id, day(r+1))); err != nil {
						return err
					}
					for _, n := range rand.Perm(5) {
						ok, err := b.AddDay(ctx, day(n+1), countsOf(id, day(n+1)))
						if err != nil {
							return err
						}
						if ok {
							added[r]++
						}
					}
					v, err := b.View(ctx)
					if err != nil {
						return err
					}
					frozen[r], err = v.Production(ctx, 5)
					return err
				}()
			}()
		}
		for range replicas {
			require.NoError(t, <-done)
		}
		total := 0
		for r := range replicas {
			require.Equal(t, definitions[0], definitions[r])
			require.Equal(t, training[0], training[r])
			require.Equal(t, frozen[0], frozen[r])
			total += added[r]
		}
		require.Equal(t, 5, total, "each day was added by one replica")
		require.Equal(t, countsOf(definitions[0].ID, days(1, 5)...), frozen[0].Counts)
	})
}

func TestUnreadableObjectsAreNotStored(t *testing.T) {
	onEachStore(t, func(t *testing.T, open func() *Store) {
		ctx := t.Context()
		b := open().Subject("dataset", "orders")
		_, err := b.CreateDefinition(ctx, Definition{})
		require.EqualError(t, err, `definition of dataset/orders cannot be stored: its payload is not valid: edges is "", expected "training" or "production"`)
		_, err = b.CreateDefinition(ctx, Definition{Edges: EdgesTraining, Fields: map[string]binning.Layout{"amount": {Kind: "guess"}}})
		require.ErrorContains(t, err, `field "amount": unknown kind "guess"`)
		objects, err := b.store.list(ctx, b.dir)
		require.NoError(t, err)
		require.Empty(t, objects)

		def, err := b.CreateDefinition(ctx, testDefinition())
		require.NoError(t, err)
		for _, c := range []struct {
			counts Counts
			want   string
		}{
			{Counts{Rows: -1}, "-1 rows, expected 0 to 2^53"},
			{Counts{Fields: map[string]map[string]int64{"a": {"b": -1}}}, `field "a": bin "b" has -1 values, expected 0 to 2^53`},
			{Counts{Fields: map[string]map[string]int64{"a": {"b": 1<<53 + 1}}}, `field "a": bin "b" has 9007199254740993 values, expected 0 to 2^53`},
		} {
			c.counts.Definition = def.ID
			_, err := b.AddDay(ctx, day(1), c.counts)
			require.EqualError(t, err, "day of dataset/orders cannot be stored: its payload is not valid: "+c.want)
		}
		_, err = b.AddDay(ctx, "2026-02-30", countsOf(def.ID))
		require.EqualError(t, err, `"2026-02-30" is not a day, expected the form 2026-01-05`)
		_, err = b.AddDay(ctx, "../../2026-01-05", countsOf(def.ID))
		require.Error(t, err)
	})
}

// TestInvalidTextIsNotStored is about text that JSON would silently change, so
// that two columns could become one.
func TestInvalidTextIsNotStored(t *testing.T) {
	require.EqualError(t, Counts{Fields: map[string]map[string]int64{"\xff": nil}}.validate(), `field "\xff" is not UTF-8 text`)
	require.EqualError(t, Counts{Fields: map[string]map[string]int64{"a": {"\xff": 1}}}.validate(), `field "a": bin "\xff" is not UTF-8 text`)
	d := testDefinition()
	d.Fields["\xff"] = binning.NewAged()
	require.EqualError(t, d.validate(), `field "\xff" is not UTF-8 text`)
	d = testDefinition()
	d.Schema[1].Name = "\xff"
	require.EqualError(t, d.validate(), `column 1 of the schema ("\xff" "VARCHAR") is not UTF-8 text`)
}

func TestSumsDoNotShareMaps(t *testing.T) {
	a, b := countsOf("x", day(1)), countsOf("x", day(1), day(2))
	sum := a.Plus(b)
	require.Equal(t, int64(2+2+4), sum.Rows)
	require.Equal(t, map[string]int64{"(-Inf,5]": 2 * (2 + 2 + 4), "2026-01-01": 2, "2026-01-02": 1}, sum.Fields["amount"])
	require.Equal(t, countsOf("x", day(1)), a)
	require.Equal(t, countsOf("x", day(1), day(2)), b)
}

func TestNamesBecomeSafeAndDifferentPaths(t *testing.T) {
	long := func(end string) string { return fmt.Sprintf("%0500d%s", 7, end) }
	for name, want := range map[string]string{
		"orders":         "orders",
		"orders_v2.1-eu": "orders_v2.1-eu",
		"Orders":         "=4frders",
		"":               "=",
		"=":              "=3d",
		".":              "=2e",
		"..":             "=2e.",
		"../etc/passwd":  "=2e.=2fetc=2fpasswd",
		"a/b":            "a=2fb",
		`a\b`:            "a=5cb",
		"日本":             "=e6=97=a5=e6=9c=ac",
		"a\x00\n":        "a=00=0a",
		"\xff":           "=ff",
		"a b%20=":        "a=20b=2520=3d",
	} {
		require.Equal(t, want, escape(name))
		back, ok := unescape(want)
		require.True(t, ok)
		require.Equal(t, name, back)
	}
	require.Len(t, escape(long("a")), maxSegment)
	require.NotEqual(t, escape(long("a")), escape(long("b")))
	for _, segment := range []string{"", "A", "=4F", "=6f", "=4", "a=", "=zz", "a/b", escape(long("a"))} {
		_, ok := unescape(segment)
		require.False(t, ok, segment)
	}
}

func FuzzNamesBecomeSafeAndDifferentPaths(f *testing.F) {
	f.Add("orders", "Orders")
	f.Add("../x", "..=2fx")
	f.Fuzz(func(t *testing.T, a, b string) {
		s := escape(a)
		require.Regexp(t, `^[a-z0-9_=-][a-z0-9_=.-]*$`, s)
		require.LessOrEqual(t, len(s), maxSegment)
		require.Equal(t, a == b, s == escape(b))
		if back, ok := unescape(s); ok {
			require.Equal(t, a, back)
		}
		if text, ok := unescape(b); ok {
			require.Equal(t, b, escape(text))
		}
	})
}

func TestHostileNamesAreListedUnchanged(t *testing.T) {
	onEachStore(t, func(t *testing.T, open func() *Store) {
		s := open()
		want := []ID{
			{"dataset", ""},
			{"dataset", "../../etc"},
			{"dataset", "Orders"},
			{"dataset", "orders"},
			{"dataset", fmt.Sprintf("%0500d/", 7)},
			{"model", "日本"},
		}
		for _, id := range want {
			require.NoError(t, view(t, s.Subject(id.Kind, id.Name)).SetLastGood(t.Context(), 1))
		}
		got, err := s.List(t.Context())
		require.NoError(t, err)
		require.ElementsMatch(t, want, got)
		require.True(t, slices.IsSortedFunc(got, func(a, b ID) int { return strings.Compare(a.String(), b.String()) }))
	})
}

func TestStemsOfStoredFiles(t *testing.T) {
	for name, want := range map[string]string{
		"definition-00000.json":                      "definition-00000",
		"definition-00000.0123456789abcdef.json":     "definition-00000",
		"day-00012-0123456789ab-2026-01-05.json":     "day-00012-0123456789ab-2026-01-05",
		"reset-100000-last_good.json":                "reset-100000-last_good",
		"last_good-00000.json":                       "last_good-00000",
		".tmp-0123456789abcdef":                      "",
		"definition-00000.json.bak":                  "",
		"definition-00000.copy.json":                 "",
		"definition.json":                            "",
		"reset-99999999999999999999-production.json": "",
		"definition-0000000000.json":                 "",
		"day-00012-0123456789ab-2026-01-05.json/":    "",
		"README.md":                 "",
		"":                          "",
		"definition-00000 (1).json": "",
		"definition-00000.0123456789abcdef0123.json":         "",
		"Definition-00000.json":                              "",
		"reset-00001-production\n.json":                      "",
		"frozen-00000-0123456789ab.0123456789abcdef.json":    "frozen-00000-0123456789ab",
		"frozen-00000-0123456789ab.0123456789abcdef.json.gz": "",
	} {
		got, ok := stemOf(name)
		require.Equal(t, want, got, name)
		require.Equal(t, want != "", ok, name)
	}
}
