// Package histogram counts values into classic and native buckets.
//
// Input: values, each with the trace that it was seen in. Output: the same histogram that client_golang makes of them;
// a test holds the two together. Of client_golang's, each value takes a hundred nanoseconds, as it may come from any
// goroutine, and an inference has four: half of the time that a span took. A Histogram here is counted in by whoever
// holds its owner's lock.
package histogram

import (
	"encoding/hex"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Native buckets are of schema 3: eight for each doubling of a value, so that one is 9 % wide. Those of values that are no
// duration, ratio or age are all alike: below 2⁻³² they count as zero, from 2³² on as the last.
const (
	schema    = 3
	perDouble = 1 << schema
	doublings = 32
	lastKey   = doublings * perDouble
	firstKey  = -lastKey + 1
)

// maxNative is how many native buckets are shown. Where more have values, two are shown as one of the next schema.
const maxNative = 160

var zero = math.Ldexp(1, -doublings)

// Kind is what all histograms of a metric have in common.
type Kind struct {
	Desc *prometheus.Desc
	// bounds are the upper ones of the classic buckets, without +Inf.
	bounds []float64
	// from has, for each native bucket, the classic one of its least value: the right one is that or hardly later.
	from [lastKey - firstKey + 1]uint8
}

// NewKind makes a Kind of a metric with those classic buckets, at most 255.
func NewKind(desc *prometheus.Desc, bounds []float64) *Kind {
	k := &Kind{Desc: desc, bounds: bounds}
	for i := range k.from {
		least := math.Exp2(float64(firstKey+i-1) / perDouble)
		at, _ := slices.BinarySearch(bounds, least)
		k.from[i] = uint8(at)
	}
	return k
}

// Exemplar is the trace that a value was seen in, and the run that trained the model.
type Exemplar struct {
	Trace [16]byte // zero where there is none
	// Run may be a part of a request.
	Run string
	// Now is the time at which it was seen, in nanoseconds since 1970.
	Now int64
}

// exemplarEvery is how often a bucket gets a new exemplar: a scrape takes the last one only.
const exemplarEvery = int64(time.Second)

// MaxRun is the longest run id that fits into an exemplar, which OpenMetrics allows 128 characters.
const MaxRun = 64

// RunLabel is the id of a run where it can be shown. Whoever sends spans can write anything there. It is a copy: the run is
// a part of the request, whose memory the next one gets.
func RunLabel(run string) string {
	if len(run) > MaxRun || !utf8.ValidString(run) {
		return ""
	}
	return strings.Clone(run)
}

// Histogram counts the values of one series. The zero value is ready for use, and has no metric until there is a value,
// since what was not measured is absent.
type Histogram struct {
	sum     float64
	classic []uint64 // of the bounds, then +Inf
	seen    []exemplar
	// Of native buckets those above and those below zero, by the exponent of the absolute value, and around it.
	positive, negative buckets
	around             uint64
	created            int64
}

type exemplar struct {
	Exemplar
	value float64
}

// Observe counts a value, which is a number.
func (h *Histogram) Observe(k *Kind, v float64, e *Exemplar) {
	if h.classic == nil {
		h.classic, h.seen, h.created = make([]uint64, len(k.bounds)+1), make([]exemplar, len(k.bounds)+1), e.Now
	}
	bucket := 0
	switch {
	case v > zero:
		key := keyOf(v)
		h.positive.add(key)
		bucket = int(k.from[key-firstKey])
	case v < -zero:
		h.negative.add(keyOf(-v))
	default:
		h.around++
	}
	for bucket < len(k.bounds) && v > k.bounds[bucket] {
		bucket++
	}
	h.classic[bucket]++
	h.sum += v
	if x := &h.seen[bucket]; e.Now-x.Now >= exemplarEvery && e.Trace != [16]byte{} {
		run := x.Run
		if run != e.Run {
			run = RunLabel(e.Run)
		}
		*x = exemplar{Exemplar{e.Trace, run, e.Now}, v}
	}
}

// Counts are how many values there are in each classic bucket, without those below it, and at last beyond all. There are
// none before the first value, and they must not be changed.
func (h *Histogram) Counts() []uint64 { return h.classic }

// Metric is the histogram as it is now; nil if nothing was counted. It is a copy, which is encoded when it is written: whoever
// counts does not wait for that.
func (h *Histogram) Metric(k *Kind, labels ...string) prometheus.Metric {
	if h.classic == nil {
		return nil
	}
	now := *h
	now.classic, now.seen = slices.Clone(h.classic), slices.Clone(h.seen)
	now.positive.counts, now.negative.counts = slices.Clone(h.positive.counts), slices.Clone(h.negative.counts)
	return &metric{k, labels, now}
}

// metric is a Histogram at one time.
type metric struct {
	kind   *Kind
	labels []string
	at     Histogram
}

// Desc implements prometheus.Metric.
func (m *metric) Desc() *prometheus.Desc { return m.kind.Desc }

// Labels are the values of the labels, in the order of the description.
func (m *metric) Labels() []string { return m.labels }

// Classic are the upper bounds of the classic buckets, without +Inf, the counts of values in each bucket and beyond all, and the
// sum of the values, for who needs no more.
func (m *metric) Classic() (bounds []float64, counts []uint64, sum float64) {
	return m.kind.bounds, m.at.classic, m.at.sum
}

// Write implements prometheus.Metric.
func (m *metric) Write(to *dto.Metric) error {
	h, bounds := &m.at, m.kind.bounds
	out := &dto.Histogram{
		SampleSum: proto.Float64(h.sum), CreatedTimestamp: timestamppb.New(time.Unix(0, h.created)),
		ZeroThreshold: proto.Float64(zero), ZeroCount: proto.Uint64(h.around),
	}
	var count uint64
	for i, n := range h.classic {
		count += n
		b := &dto.Bucket{CumulativeCount: proto.Uint64(count), Exemplar: h.seen[i].proto()}
		switch {
		case i < len(bounds):
			b.UpperBound = proto.Float64(bounds[i])
		case b.Exemplar == nil:
			continue // +Inf goes without saying
		default:
			b.UpperBound = proto.Float64(math.Inf(1))
		}
		out.Bucket = append(out.Bucket, b)
	}
	out.SampleCount = proto.Uint64(count)
	positive, negative, s := h.positive, h.negative, int32(schema)
	for positive.used()+negative.used() > maxNative {
		positive, negative, s = positive.merged(), negative.merged(), s-1
	}
	out.Schema = proto.Int32(s)
	out.PositiveSpan, out.PositiveDelta = positive.encode()
	out.NegativeSpan, out.NegativeDelta = negative.encode()
	to.Label, to.Histogram = prometheus.MakeLabelPairs(m.kind.Desc, m.labels), out
	return nil
}

func (x *exemplar) proto() *dto.Exemplar {
	if x.Trace == [16]byte{} {
		return nil
	}
	e := &dto.Exemplar{Value: proto.Float64(x.value), Timestamp: timestamppb.New(time.Unix(0, x.Now))}
	if x.Run != "" {
		e.Label = append(e.Label, &dto.LabelPair{Name: proto.String("mlflow_run_id"), Value: proto.String(x.Run)})
	}
	e.Label = append(e.Label, &dto.LabelPair{Name: proto.String("trace_id"), Value: proto.String(hex.EncodeToString(x.Trace[:]))})
	return e
}
