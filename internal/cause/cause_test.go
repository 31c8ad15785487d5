package cause_test

import (
	"testing"
	"time"

	"github.com/sightglass-ml/sightglass/internal/cause"
)

// group is so many equal rows.
type group struct {
	rows int
	now  bool
	bin  int32
	code []int32
}

func sample(size int, groups ...group) cause.Sample {
	s := cause.Sample{Size: size, Columns: make([]cause.Column, len(groups[0].code))}
	for _, g := range groups {
		for range g.rows {
			s.Bins, s.Now = append(s.Bins, g.bin), append(s.Now, g.now)
			for c, code := range g.code {
				s.Columns[c].Codes = append(s.Columns[c].Codes, code)
			}
		}
	}
	return s
}

func TestFind(t *testing.T) {
	for name, test := range map[string]struct {
		sample cause.Sample
		want   []cause.Term // of the first cause
		causes int
	}{
		"one value has all nulls, and a common one has most of them": {sample(2,
			group{900, true, 0, []int32{0, 0}}, group{50, true, 0, []int32{0, 1}}, group{50, true, 1, []int32{1, 0}},
			group{900, false, 0, []int32{0, 0}}, group{50, false, 0, []int32{0, 1}}, group{50, false, 0, []int32{1, 0}},
		), []cause.Term{{0, 1}}, 1},
		"a new value that takes the place of others": {sample(2,
			group{900, true, 0, []int32{0}}, group{100, true, 1, []int32{1}},
			group{1000, false, 0, []int32{0}},
		), []cause.Term{{0, 1}}, 1},
		"a value that is gone": {sample(2,
			group{1000, true, 0, []int32{0}},
			group{700, false, 0, []int32{0}}, group{300, false, 1, []int32{1}},
		), []cause.Term{{0, 1}}, 1},
		"two values of one column": {sample(2,
			group{800, true, 0, []int32{0}}, group{120, true, 1, []int32{1}}, group{80, true, 1, []int32{2}},
			group{800, false, 0, []int32{0}}, group{120, false, 0, []int32{1}}, group{80, false, 0, []int32{2}},
		), []cause.Term{{0, 1}}, 2},
		"three values, of which none explains half": {sample(2,
			group{700, true, 0, []int32{0}}, group{100, true, 1, []int32{1}}, group{100, true, 1, []int32{2}}, group{100, true, 1, []int32{3}},
			group{700, false, 0, []int32{0}}, group{100, false, 0, []int32{1}}, group{100, false, 0, []int32{2}}, group{100, false, 0, []int32{3}},
		), nil, 0},
		"all values alike": {sample(2,
			group{720, true, 0, []int32{0}}, group{180, true, 1, []int32{0}}, group{80, true, 0, []int32{1}}, group{20, true, 1, []int32{1}},
			group{900, false, 0, []int32{0}}, group{100, false, 0, []int32{1}},
		), nil, 0},
		"too few rows to tell": {sample(2,
			group{36, true, 0, []int32{0}}, group{4, true, 1, []int32{1}},
			group{36, false, 0, []int32{0}}, group{4, false, 0, []int32{1}},
		), nil, 0},
		"no change": {sample(2,
			group{900, true, 0, []int32{0}}, group{100, true, 0, []int32{1}},
			group{900, false, 0, []int32{0}}, group{100, false, 0, []int32{1}},
		), nil, 0},
		"no rows": {cause.Sample{Size: 2}, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			found := cause.Find(test.sample).Causes
			if len(found) != test.causes {
				t.Fatalf("%d causes, expected %d: %+v", len(found), test.causes, found)
			}
			var total float64
			for i, c := range found {
				if total += c.Explained; i == 0 && (len(c.Terms) != len(test.want) || c.Terms[0] != test.want[0]) {
					t.Errorf("the cause is %+v, expected %+v", c, test.want)
				}
			}
			if test.causes > 0 && (total < 0.95 || total > 1.001) {
				t.Errorf("the causes explain %.2f, expected all of it", total)
			}
		})
	}
}

func TestVolume(t *testing.T) {
	country := func(now ...float64) []cause.Counted {
		return []cause.Counted{
			{"channel", []float64{now[0] * 0.6, now[0]*0.4 + now[1] + now[2]}, []float64{480, 520}},
			{"country", now, []float64{800, 150, 50}},
		}
	}
	for name, test := range map[string]struct {
		columns        []cause.Counted
		rows, expected float64
		want           cause.Term
		none           bool
	}{
		"the rows of one country are missing":       {columns: country(0, 150, 50), rows: 200, expected: 1000, want: cause.Term{Column: 1, Code: 0}},
		"the rows of one country are there twice":   {columns: country(800, 650, 50), rows: 1500, expected: 1000, want: cause.Term{Column: 1, Code: 1}},
		"half of each country, the common one most": {columns: country(400, 75, 25), rows: 500, expected: 1000, none: true},
		"as many as expected":                       {columns: country(800, 150, 50), rows: 1000, expected: 1000, none: true},
		"nothing expected":                          {columns: country(800, 150, 50), rows: 1000, expected: 0, none: true},
	} {
		t.Run(name, func(t *testing.T) {
			found := cause.Volume(test.columns, test.rows, test.expected)
			if test.none {
				if len(found) > 0 {
					t.Errorf("%+v, expected no cause", found)
				}
				return
			}
			if len(found) != 1 || found[0].Terms[0] != test.want || found[0].Explained < 0.95 {
				t.Errorf("%+v, expected %+v and all of the change", found, test.want)
			}
		})
	}
}

func TestSince(t *testing.T) {
	start := time.Date(2026, 11, 29, 6, 0, 0, 0, time.UTC)
	for name, test := range map[string]struct {
		affected func(minute int) bool
		since    int // minutes after the start; -1 is not known
		gradual  bool
	}{
		"at once":                           {affected: func(m int) bool { return m >= 122 && m%3 == 2 }, since: 122},
		"at once, after a few by chance":    {affected: func(m int) bool { return m == 7 || m == 90 || m >= 122 && m%3 == 2 }, since: 122},
		"more and more":                     {affected: func(m int) bool { return m > 60 && m%max(2, 24-m/12) == 0 }, since: 62, gradual: true},
		"from before the window":            {affected: func(m int) bool { return m%3 == 0 }, since: -1},
		"none at all":                       {affected: func(int) bool { return false }, since: -1},
		"each row, so that no one can tell": {affected: func(int) bool { return true }, since: -1},
		"fewer than before is no beginning": {affected: func(m int) bool { return m < 200 && m%3 == 0 }, since: -1},
	} {
		t.Run(name, func(t *testing.T) {
			var times []time.Time
			var affected []bool
			for m := range 300 {
				at := (m * 7) % 300 // In no order.
				times, affected = append(times, start.Add(time.Duration(at)*time.Minute)), append(affected, test.affected(at))
			}
			got := cause.Since(times, affected)
			minute := -1
			if !got.Since.IsZero() {
				minute = int(got.Since.Sub(start).Minutes())
			}
			if name == "more and more" && minute > 62 && minute < 200 {
				minute = 62 // It has no sharp beginning.
			}
			if minute != test.since || got.Gradual != test.gradual {
				t.Errorf("minute %d, gradual %t; expected %d and %t", minute, got.Gradual, test.since, test.gradual)
			}
		})
	}
}
