package metering

import (
	"encoding/hex"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/otlp"
)

// Exemplar is the trace that a value was seen in, and the run that trained the model.
type Exemplar struct {
	Trace otlp.TraceID
	Run   string
	// Now is the time at which it was seen, in nanoseconds since 1970.
	Now int64
}

// exemplarEvery is how often a bucket gets a new exemplar. To make one costs more than to count a hundred values, and a
// scrape takes the last one only.
const exemplarEvery = int64(time.Second)

// maxRun is the longest run id that fits into an exemplar, which OpenMetrics allows 128 characters.
const maxRun = 64

// histogram is made when its first value comes, since what was not measured is absent.
type histogram struct {
	once  sync.Once
	value prometheus.Histogram
	// attached is when each bucket got its last exemplar.
	attached []atomic.Int64
}

func (h *histogram) observe(of vector, v float64, e Exemplar, labels ...string) {
	h.once.Do(func() {
		h.value, h.attached = of.WithLabelValues(labels...).(prometheus.Histogram), make([]atomic.Int64, len(of.buckets)+1)
	})
	if e.Trace == (otlp.TraceID{}) {
		h.value.Observe(v)
		return
	}
	bucket, _ := slices.BinarySearch(of.buckets, v)
	at := &h.attached[bucket]
	last := at.Load()
	if e.Now-last < exemplarEvery || !at.CompareAndSwap(last, e.Now) {
		h.value.Observe(v)
		return
	}
	labelled := prometheus.Labels{"trace_id": hex.EncodeToString(e.Trace[:])}
	if run := runLabel(e.Run); run != "" {
		labelled["mlflow_run_id"] = run
	}
	h.value.(prometheus.ExemplarObserver).ObserveWithExemplar(v, labelled)
}

// runLabel is the id of a run where it can be shown. Whoever sends spans can write anything there. It is a copy: the run is
// a part of the request, whose memory the next one gets.
func runLabel(run string) string {
	if len(run) > maxRun || !utf8.ValidString(run) {
		return ""
	}
	return strings.Clone(run)
}
