package page

import (
	"cmp"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/sightglass-ml/sightglass/responder/internal/grouping"
	"github.com/sightglass-ml/sightglass/responder/internal/incident"
)

func durationOf(nanoseconds int64) time.Duration { return time.Duration(nanoseconds) }

// drawing is the lineage of an incident as an image: one object in each row, ordered from data to money, with arcs at the
// left. It fits the width of a phone without horizontal scrolling.
type drawing struct {
	Width, Height int
	Box           int // width of a row's box
	Left          int // where it begins
	Rows          []drawnRow
	Arcs          []drawnArc
	LeftOut       int
	Edges         []grouping.Edge
}

type drawnRow struct {
	Y, TextY, NoteY int
	Label, Note     string
	Full            string
	Class           string
}

type drawnArc struct{ Path, Why string }

const (
	rowHeight, rowGap = 44, 10
	gutter, boxWidth  = 64, 290
	mostRows          = 24
	mostLetters       = 34
)

var roleClass = map[string]string{
	incident.RoleCause: "cause", incident.RoleFirst: "first", incident.RoleConsequence: "consequence", incident.RoleUpstream: "cause",
}

func draw(v *incident.View) *drawing {
	objects := slices.Clone(v.Objects)
	// Above the limit, the objects that explain the incident are kept, then the first to alert.
	rank := func(o incident.Object) int {
		return slices.Index([]string{incident.RoleCause, incident.RoleFirst, incident.RoleUpstream, incident.RoleConsequence}, o.Role) & 7
	}
	slices.SortStableFunc(objects, func(a, b incident.Object) int { return cmp.Or(cmp.Compare(rank(a), rank(b)), a.Onset.Compare(b.Onset)) })
	d := &drawing{Width: gutter + boxWidth + 2, Left: gutter, Box: boxWidth, LeftOut: max(len(objects)-mostRows, 0), Edges: v.Edges}
	keep := map[grouping.Node]int{}
	for _, o := range objects[:min(len(objects), mostRows)] {
		keep[o.Node] = -1
	}
	for _, o := range v.Objects {
		if _, ok := keep[o.Node]; !ok {
			continue
		}
		y := 2 + len(d.Rows)*(rowHeight+rowGap)
		keep[o.Node] = y + rowHeight/2
		row := drawnRow{Y: y, TextY: y + 19, NoteY: y + 35, Full: printable(o.String()), Class: roleClass[o.Role]}
		row.Label, row.Note = short(row.Full), o.Role
		if o.Alerts > 0 {
			row.Note = fmt.Sprintf("%s · %s since %s", o.Role, incident.Count(o.Alerts), o.Onset.UTC().Format("15:04"))
		}
		d.Rows = append(d.Rows, row)
	}
	d.Height = 2 + len(d.Rows)*(rowHeight+rowGap)
	for _, e := range v.Edges {
		from, ok := keep[e.From]
		to, also := keep[e.To]
		if !ok || !also {
			continue
		}
		span := max(from-to, to-from) / (rowHeight + rowGap)
		x := gutter - min(14+9*span, gutter-4)
		shift := 6 // An arc to a lower row starts below the middle of a row and ends above that of the other; an arc to a higher row does the opposite.
		if to < from {
			shift = -6
		}
		d.Arcs = append(d.Arcs, drawnArc{fmt.Sprintf("M%d %d C%d %d %d %d %d %d", gutter, from+shift, x, from+shift, x, to-shift, gutter-3, to-shift), e.Why})
	}
	return d
}

func short(s string) string {
	if utf8.RuneCountInString(s) <= mostLetters {
		return s
	}
	return string([]rune(s)[:mostLetters-1]) + "…"
}
