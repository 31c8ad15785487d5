package tables_test

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/binning"
	"github.com/sightglass-ml/sightglass/internal/tables"
)

// A sample of all rows has as many of each bin as a count of them, and the statement of a bin lists these rows.
func sampleEqualsCount(t *testing.T, e engine, s *tables.Source) {
	r := e.relation(t, s, e.records(300))
	schema, err := s.Schema(t.Context(), r)
	require.NoError(t, err)
	layouts := fields(e.layouts(someLayouts()))
	layouts["price"] = nil
	now, before := tables.Window{From: asOf.Add(-12 * time.Hour), To: asOf}, tables.Window{From: asOf.Add(-30 * time.Hour), To: asOf.Add(-14 * time.Hour)}
	var asked []tables.SampleField
	for _, c := range schema {
		if layout, ok := layouts[c.Name]; ok {
			asked = append(asked, tables.SampleField{Column: c.Name, Layout: layout})
		}
	}
	got, err := s.Sample(t.Context(), r, schema, []tables.Window{now, before}, asked, 1, 10_000, asOf)
	require.NoError(t, err)
	require.Len(t, got.Fields, len(asked))
	for i, w := range []tables.Window{now, before} {
		want, err := s.Count(t.Context(), r, schema, w, layouts, asOf)
		require.NoError(t, err)
		rows := int64(0)
		for row, window := range got.Window {
			if window == i {
				rows++
				require.False(t, got.Times[row].Before(w.From.Truncate(time.Millisecond)) || got.Times[row].After(w.To))
			}
		}
		require.Equal(t, want.Rows, rows)
		for j, f := range got.Fields {
			counts := make(map[string]int64)
			codes := make(map[string][]int32)
			for row, window := range got.Window {
				if window != i {
					continue
				}
				bin := f.Names[f.Codes[row]]
				if f.Values && f.Codes[row] > 0 {
					finder := binning.NewFinder(*f.Layout, false)
					bin = finder.Bins()[finder.Category(bin)]
				}
				if counts[bin]++; !slices.Contains(codes[bin], f.Codes[row]) {
					codes[bin] = append(codes[bin], f.Codes[row])
				}
			}
			if f.Layout == nil {
				require.Equal(t, want.Nulls[f.Column], counts[binning.Null], f.Column)
				continue
			}
			for bin, n := range want.Values[f.Column] {
				require.Equal(t, n, counts[bin], "window %d: column %q, bin %q", i, f.Column, bin)
				if e.name == "trino" && (i > 0 || j > 1) {
					continue
				}
				listing, err := s.Listing(t.Context(), r, schema, w, f.SampleField, bin, 10_000, asOf)
				require.NoError(t, err, bin)
				listed, err := s.Numbers(t.Context(), fmt.Sprintf("SELECT count(*) AS n FROM (%s) AS listed", listing), tables.Window{}, "n")
				require.NoError(t, err, listing)
				require.Equal(t, n, listed[0], "window %d: column %q, bin %q: %s", i, f.Column, bin, listing)
			}
			if e.name == "trino" && j > 1 {
				continue // It takes long to plan a query.
			}
			for bin, n := range counts {
				counted, err := s.Numbers(t.Context(), fmt.Sprintf("SELECT count(*) AS n FROM (%s) AS listed", got.Statement(i, 10_000, tables.Among{Field: j, Codes: codes[bin]})), tables.Window{}, "n")
				require.NoError(t, err, bin)
				require.Equal(t, n, counted[0], "window %d: column %q, bin %q", i, f.Column, bin)
			}
		}
	}

	// A share of the rows is about that, and no more than asked for.
	part, err := s.Sample(t.Context(), r, schema, []tables.Window{now, before}, asked[:1], 0.5, 10_000, asOf)
	require.NoError(t, err)
	half := float64(len(got.Window)) / 2
	require.InDelta(t, half, float64(len(part.Window)), 6*math.Sqrt(half/2), "half of the rows, within six standard deviations")
	few, err := s.Sample(t.Context(), r, schema, []tables.Window{now, before}, asked[:1], 1, 3, asOf)
	require.NoError(t, err)
	require.Len(t, few.Window, 3)
}
