package world

import (
	"time"
)

// batch holds rows by column. It is reused for the next rows.
type batch struct {
	n    int
	time []int64 // times of the events, in Unix microseconds
	cols []vector
	// minute is the minute of the hour, set when the rows are counted.
	minute []uint8
}

// vector is a column of a batch.
type vector struct {
	null []bool
	num  []float64 // numbers, and times in microseconds
	text []int32   // indices of names
	dict *dict     // nil for a column of numbers
}

// dict interns the texts of a column.
type dict struct {
	names []string
	index map[string]int32
}

func newDict(names ...string) *dict {
	d := &dict{index: make(map[string]int32)}
	for _, n := range names {
		d.id(n)
	}
	return d
}

func (d *dict) id(name string) int32 {
	i, ok := d.index[name]
	if !ok {
		i = int32(len(d.names))
		d.names = append(d.names, name)
		d.index[name] = i
	}
	return i
}

func (b *batch) reset() {
	b.n, b.time = 0, b.time[:0]
	for i := range b.cols {
		v := &b.cols[i]
		v.null, v.num, v.text = v.null[:0], v.num[:0], v.text[:0]
	}
}

// copyRow appends a row of another batch with the same columns.
func (b *batch) copyRow(from *batch, i int) {
	b.n++
	b.time = append(b.time, from.time[i])
	for c := range b.cols {
		to, v := &b.cols[c], &from.cols[c]
		to.null = append(to.null, v.null[i])
		if v.dict != nil {
			to.text = append(to.text, v.text[i])
		} else {
			to.num = append(to.num, v.num[i])
		}
	}
}

// keep removes the rows for which keep is false, in place.
func (b *batch) keep(keep func(i int) bool) {
	n := 0
	for i := range b.n {
		if !keep(i) {
			continue
		}
		b.time[n] = b.time[i]
		for c := range b.cols {
			v := &b.cols[c]
			v.null[n] = v.null[i]
			if v.dict != nil {
				v.text[n] = v.text[i]
			} else {
				v.num[n] = v.num[i]
			}
		}
		n++
	}
	b.n, b.time = n, b.time[:n]
	for c := range b.cols {
		v := &b.cols[c]
		v.null = v.null[:n]
		if v.dict != nil {
			v.text = v.text[:n]
		} else {
			v.num = v.num[:n]
		}
	}
}

// class is the type of a column's values.
type class int

const (
	classNumber class = iota
	classInteger
	classText
	classBool
	classTime
)

// column is a column of a stream.
type column struct {
	name, sqlType string
	class         class
}

const (
	minute = int64(time.Minute / time.Microsecond)
	hour   = 60 * minute
)

// minuteOf returns the number of the minute of an instant.
func minuteOf(t time.Time) int64 { return floor(t.UnixMicro(), minute) }

func floor(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

func timeOf(m int64) time.Time { return time.UnixMicro(m * minute).UTC() }

// stream generates events minute by minute. The same minute always gives the same events. Only one goroutine may use it.
type stream interface {
	columns() []column
	// minute appends the events of the minute with this number.
	minute(m int64, to *batch)
	// times appends only the times of these events; the batch then has no values.
	times(m int64, to *batch)
	// bounds returns the first minute with events, and the minute after the last.
	bounds() (from, to int64)
}

// newBatch returns an empty batch with a stream's columns.
func newBatch(columns []column, dicts []*dict) *batch {
	b := &batch{cols: make([]vector, len(columns))}
	for i := range columns {
		b.cols[i].dict = dicts[i]
	}
	return b
}
