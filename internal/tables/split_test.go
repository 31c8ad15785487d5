package tables_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/tables"
)

// One scan of all parts has the same results as a scan of each part alone and a scan of all rows.
func partsEqualTheirOwnCounts(t *testing.T, e engine, s *tables.Source) {
	r := e.relation(t, s, e.records(300))
	schema, err := s.Schema(t.Context(), r)
	require.NoError(t, err)
	asked := fields(e.layouts(someLayouts()))
	asked["price"] = nil
	window := tables.Window{From: asOf.Add(-30 * time.Hour), To: asOf.Add(-time.Minute)}
	recent, newest := asOf.Add(-6*time.Hour), asOf.Add(-2*time.Hour)
	checks := []tables.Check{{Column: "amount", NotNull: true}, {Column: "quantity", AtLeast: "10"}, {Column: "quantity", AtLeast: "many"}}
	for name, split := range map[string]tables.Split{
		"a text":          {{Column: "provider", Values: []string{"visa", "O'Brien & Co", ""}}},
		"whole numbers":   {{Column: "quantity", Values: []string{"0", "7"}}},
		"a text by truth": {{Column: "provider", Values: []string{"visa", `back\slash`}}, {Column: "flag", Values: []string{e.truth(true)}}},
		"no column":       {},
	} {
		if e.name == "trino" && len(split) != 2 {
			continue // It takes long to plan a query.
		}
		all, parts, err := s.CountParts(t.Context(), r, schema, window, tables.Starts{Recent: recent, Newest: newest}, split, asked, asOf)
		require.NoError(t, err, name)
		want, err := s.Count(t.Context(), r, schema, window, asked, asOf)
		require.NoError(t, err, name)
		sameProfile(t, want, all.Full, "%s", name)
		outside, err := s.OutsideParts(t.Context(), r, schema, window, split)
		require.NoError(t, err, name)
		checked, err := s.CheckParts(t.Context(), r, schema, window, split, checks)
		require.NoError(t, err, name)
		duplicates, err := s.DuplicateParts(t.Context(), r, schema, window, split, []string{"provider", "flag"}, want.Rows, 1000)
		require.NoError(t, err, name)
		rows := int64(0)
		for i, got := range parts {
			part := r
			if len(split) > 0 {
				part = r.Part(s, split, i)
			}
			want, err := s.Count(t.Context(), part, schema, window, asked, asOf)
			require.NoError(t, err, name)
			sameProfile(t, want, got.Full, "%s: part %d", name, i)
			want, err = s.Count(t.Context(), part, schema, tables.Window{From: recent, To: window.To}, asked, asOf)
			require.NoError(t, err, name)
			sameProfile(t, want, got.Recent, "%s: recent of part %d", name, i)
			wantRows, err := s.Rows(t.Context(), part, tables.Window{From: newest, To: window.To})
			require.NoError(t, err, name)
			require.Equal(t, wantRows, got.Newest, "%s: newest of part %d", name, i)
			wantOutside, err := s.Outside(t.Context(), part, schema, window)
			require.NoError(t, err, name)
			require.Equal(t, wantOutside, outside[i], "%s: part %d", name, i)
			wantChecked, err := s.Check(t.Context(), part, schema, window, checks)
			require.NoError(t, err, name)
			require.Equal(t, wantChecked, checked[i], "%s: part %d", name, i)
			wantDuplicates, err := s.Duplicates(t.Context(), part, schema, window, []string{"provider", "flag"}, got.Full.Rows, 1000)
			require.NoError(t, err, name)
			require.Equal(t, wantDuplicates, duplicates[i], "%s: part %d", name, i)
			rows += got.Full.Rows
		}
		require.Equal(t, all.Full.Rows, rows, "%s: each row is in one part", name)
	}
}

func TestSplitParts(t *testing.T) {
	split := tables.Split{{Column: "country", Values: []string{"CA", "US"}}, {Column: "device", Values: []string{"app"}}}
	require.Equal(t, 6, split.Parts())
	for part, want := range []struct {
		values []string
		other  []bool
	}{
		{[]string{"CA", "app"}, []bool{false, false}},
		{[]string{"CA", ""}, []bool{false, true}},
		{[]string{"US", "app"}, []bool{false, false}},
		{[]string{"US", ""}, []bool{false, true}},
		{[]string{"", "app"}, []bool{true, false}},
		{[]string{"", ""}, []bool{true, true}},
	} {
		values, other := split.Values(part)
		require.Equal(t, want.values, values)
		require.Equal(t, want.other, other)
	}
}
