package world

import (
	"hash/fnv"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/sightglass-ml/sightglass/replay/scenario"
)

// random returns a generator for one name and time. It always draws the same numbers.
func random(seed uint64, name string, at int64) *rand.Rand {
	return rand.New(rand.NewPCG(seed^hash(name), uint64(at)*0x9e3779b97f4a7c15)) //nolint:gosec // A simulation must be repeatable.
}

func hash(name string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name))
	return h.Sum64()
}

// traffic is the rate of events over time.
type traffic struct {
	scenario.Traffic
	seed     uint64
	name     string
	mean     float64 // a minute
	start    time.Time
	holidays map[string]bool

	hour   int64 // hour of the cached factor
	factor float64
}

func newTraffic(t scenario.Traffic, seed uint64, name string, perMinute float64, start time.Time, holidays []scenario.Date) *traffic {
	tr := &traffic{Traffic: t, seed: seed, name: name, mean: perMinute, start: start, holidays: map[string]bool{}, hour: math.MinInt64}
	for _, h := range holidays {
		tr.holidays[h.String()] = true
	}
	return tr
}

// calendar returns the local time and hour of a minute.
func (t *traffic) calendar(m int64) (local time.Time, hours float64) {
	local = timeOf(m).In(t.Location())
	return local, float64(local.Hour()) + float64(local.Minute())/60
}

// rate returns the expected number of events in a minute.
func (t *traffic) rate(m int64) float64 {
	local, hours := t.calendar(m)
	if h := floor(m, 60); h != t.hour {
		t.hour = h
		t.factor = 1
		if d := local.Weekday(); d == time.Saturday || d == time.Sunday {
			t.factor *= t.Weekend
		}
		if t.holidays[local.Format(time.DateOnly)] {
			t.factor *= t.Holiday
		}
		t.factor *= math.Pow(1+t.Growth, timeOf(m).Sub(t.start).Hours()/(30*24))
		// Factors are lognormal: a busy hour deviates more from the mean than a quiet one.
		noise := t.DailyNoise*random(t.seed, t.name+"/day", floor(m, 24*60)).NormFloat64() + t.HourlyNoise*random(t.seed, t.name+"/hour", h).NormFloat64()
		t.factor *= math.Exp(noise)
	}
	return t.mean * t.factor * (1 + t.Daily*math.Cos(2*math.Pi*(hours-t.Peak)/24))
}

// poisson draws a count.
func poisson(r *rand.Rand, mean float64) int {
	if mean > 30 {
		return max(0, int(math.Round(mean+math.Sqrt(mean)*r.NormFloat64())))
	}
	n, p, limit := 0, r.Float64(), math.Exp(-mean)
	for p > limit {
		n++
		p *= r.Float64()
	}
	return n
}

// simulation is a stream of simulated events.
type simulation struct {
	seed    uint64
	name    string
	traffic *traffic
	draws   []*draw
	cols    []column
	dicts   []*dict
	from    int64
	to      int64
}

func newSimulation(seed uint64, name string, columns []scenario.Column, t *traffic, from, to int64) *simulation {
	s := &simulation{seed: seed, name: name, traffic: t, from: from, to: to}
	for i := range columns {
		c := &columns[i]
		d := newDraw(c, seed, name)
		s.draws = append(s.draws, d)
		col := column{name: c.Name, sqlType: c.SQLType()}
		switch strings.ToUpper(col.sqlType) {
		case "VARCHAR":
			col.class = classText
		case "BOOLEAN":
			col.class = classBool
		case "BIGINT":
			col.class = classInteger
		case "TIMESTAMP":
			col.class = classTime
		}
		s.cols, s.dicts = append(s.cols, col), append(s.dicts, d.dict)
	}
	return s
}

func (s *simulation) columns() []column        { return s.cols }
func (s *simulation) bounds() (from, to int64) { return s.from, s.to }

func (s *simulation) minute(m int64, to *batch) {
	begin := to.n
	r := s.draw(m, to)
	if to.n == begin {
		return
	}
	local, hours := s.traffic.calendar(m)
	weekend := local.Weekday() == time.Saturday || local.Weekday() == time.Sunday
	for i, d := range s.draws {
		d.moment(m, hours, weekend)
		d.fill(r, m, &to.cols[i], to.time[begin:])
	}
}

func (s *simulation) times(m int64, to *batch) { s.draw(m, to) }

// draw draws the number of events of a minute and their times. The returned generator draws their values next.
func (s *simulation) draw(m int64, to *batch) *rand.Rand {
	if m < s.from || m >= s.to {
		return nil
	}
	r := random(s.seed, s.name, m)
	n := poisson(r, s.traffic.rate(m))
	to.n += n
	for range n {
		to.time = append(to.time, m*minute+r.Int64N(minute))
	}
	return r
}

// draw draws the values of one column.
type draw struct {
	*scenario.Column
	seed uint64
	name string
	dict *dict
	rank []float64 // weight of each category
	// whole means that numbers are rounded.
	whole bool

	// The following fields are for the current hour.
	hour   int64
	scale  float64
	alias  []int32
	accept []float64
}

func newDraw(c *scenario.Column, seed uint64, of string) *draw {
	d := &draw{Column: c, seed: seed, name: of + "/" + c.Name, hour: math.MinInt64, scale: 1, whole: strings.EqualFold(c.Type, "bigint")}
	if k := c.Categories; k != nil {
		names := k.Values
		for i := range k.Count {
			names = append(names, c.Name+" "+strconv.Itoa(i+1))
		}
		d.dict = newDict(names...)
		for i := range names {
			w := math.Pow(float64(i+1), -k.Zipf)
			if len(k.Weights) > 0 {
				w = k.Weights[i]
			}
			d.rank = append(d.rank, w)
		}
	}
	return d
}

// moment sets the parameters of the distribution at a time.
func (d *draw) moment(m int64, hours float64, weekend bool) {
	h := floor(m, 60)
	if h == d.hour {
		return
	}
	d.hour = h
	day := floor(m, 24*60)
	if d.dict == nil {
		d.scale = math.Exp(d.Daily*math.Cos(2*math.Pi*(math.Floor(hours)-14)/24) + d.Wander*d.noise(day, 0))
		if weekend {
			d.scale *= math.Exp(d.Weekly)
		}
		return
	}
	if d.alias != nil && d.Daily == 0 && d.Weekly == 0 && d.Wander == 0 {
		return
	}
	weights := make([]float64, len(d.rank))
	for i, w := range d.rank {
		r := random(d.seed, d.name+"/category", int64(i))
		peak := 24 * r.Float64()
		tilt := d.Daily * math.Cos(2*math.Pi*(math.Floor(hours)-peak)/24)
		if weekend {
			tilt += d.Weekly * (2*r.Float64() - 1)
		}
		weights[i] = w * math.Exp(tilt+d.Wander*d.noise(day, i))
	}
	d.alias, d.accept = aliasTable(weights)
}

func (d *draw) noise(day int64, i int) float64 {
	if d.Wander == 0 {
		return 0
	}
	return random(d.seed, d.name+"/wander", day*100_003+int64(i)).NormFloat64()
}

// aliasTable prepares draws of a category in constant time, by Vose's method.
func aliasTable(weights []float64) (alias []int32, accept []float64) {
	n := len(weights)
	sum := 0.0
	for _, w := range weights {
		sum += w
	}
	alias, accept = make([]int32, n), make([]float64, n)
	var small, large []int
	for i, w := range weights {
		accept[i] = w / sum * float64(n)
		if accept[i] < 1 {
			small = append(small, i)
		} else {
			large = append(large, i)
		}
	}
	for len(small) > 0 && len(large) > 0 {
		s, l := small[len(small)-1], large[len(large)-1]
		small = small[:len(small)-1]
		alias[s] = int32(l)
		accept[l] -= 1 - accept[s]
		if accept[l] < 1 {
			large = large[:len(large)-1]
			small = append(small, l)
		}
	}
	for _, i := range append(small, large...) {
		accept[i] = 1
	}
	return alias, accept
}

// fill appends a value for each time.
func (d *draw) fill(r *rand.Rand, m int64, v *vector, times []int64) {
	nulls, null := d.Nulls, v.null
	if d.dict != nil {
		alias, accept, text := d.alias, d.accept, v.text
		for range times {
			null = append(null, nulls > 0 && r.Float64() < nulls)
			u := r.Float64() * float64(len(alias))
			k := int(u)
			if u-float64(k) >= accept[k] {
				k = int(alias[k])
			}
			text = append(text, int32(k))
		}
		v.null, v.text = null, text
		return
	}
	num := v.num
	for i, at := range times {
		null = append(null, nulls > 0 && r.Float64() < nulls)
		num = append(num, d.number(r, m, i, at))
	}
	v.null, v.num = null, num
}

func (d *draw) number(r *rand.Rand, m int64, i int, at int64) float64 {
	if d.Zeros > 0 && r.Float64() < d.Zeros {
		return 0
	}
	x := 0.0
	switch {
	case d.Lognormal != nil:
		x = d.Lognormal.Median * math.Exp(d.Lognormal.Sigma*r.NormFloat64()) * d.scale
	case d.Normal != nil:
		x = d.Normal.Mean*d.scale + d.Normal.Stddev*r.NormFloat64()
	case d.Uniform != nil:
		x = d.Uniform.From + (d.Uniform.To-d.Uniform.From)*r.Float64()
	case d.Exponential != nil:
		x = d.Exponential.Mean * d.scale * r.ExpFloat64()
	case d.Age != nil:
		return float64(at - int64(d.Age.Mean*d.scale*r.ExpFloat64()*1e6))
	case d.Sequence:
		return float64(m*1_000_000 + int64(i))
	}
	if d.whole {
		return math.Round(x)
	}
	return x
}
