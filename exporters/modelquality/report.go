package modelquality

import (
	"log/slog"
	"sync/atomic"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/convention"
	"github.com/sightglass-ml/sightglass/internal/exporter"
)

// report counts invalid data of clients, and logs each kind once.
type report struct {
	ignored [2][convention.Reasons]atomic.Int64 // by signal
	bad     [convention.BadKinds]atomic.Int64
	dropped atomic.Int64

	loggedBad                    [convention.BadKinds]atomic.Bool
	loggedDropped, loggedNothing atomic.Bool
}

// quiet is the number of ignored items after which a log line says that nothing was counted.
const quiet = 100

// instrumentation is the page that documents what is counted.
const instrumentation = "https://github.com/sightglass-ml/sightglass/blob/main/docs/instrumentation.md"

func (r *report) batch(b *convention.Batch, logger *slog.Logger, accepted, ignored int64) {
	for k, n := range b.BadValues {
		if n > 0 {
			r.refuse(convention.BadKind(k), int64(n), b.BadValue[k], logger)
		}
	}
	if b.DroppedAttributes > 0 {
		r.dropped.Add(int64(b.DroppedAttributes))
		if r.loggedDropped.CompareAndSwap(false, true) {
			logger.Warn("Spans have lost attributes in the SDK, which keeps 128 unless it is told otherwise; raise OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT in the service", "help", instrumentation)
		}
	}
	if accepted == 0 && ignored >= quiet && r.loggedNothing.CompareAndSwap(false, true) {
		logger.Info("No span or log record counts yet: none is an inference or an evaluation", "items", ignored,
			"no_model", r.total(convention.NoModel), "other_operation", r.total(convention.OtherOperation), "no_evaluation", r.total(convention.NoEvaluation),
			"help", instrumentation)
	}
}

// expected describes the valid values.
var expected = [convention.BadKinds]string{
	"ok, error, timeout, fallback, rejected or cancelled", "a number from 0 to 1", "a score up to 1 under a gate up to 1, or a scale in the configuration of the evaluation",
	"an array of 1 to 4096 finite numbers, not all of them 0",
}

// refuse counts invalid values.
func (r *report) refuse(k convention.BadKind, n int64, example string, logger *slog.Logger) {
	r.bad[k].Add(n)
	if r.loggedBad[k].CompareAndSwap(false, true) {
		logger.Warn("A value that a service sends is not used", "value", k.String(), "is", example, "want", expected[k], "help", instrumentation)
	}
}

func (r *report) total(reason convention.Reason) int64 {
	return r.ignored[0][reason].Load() + r.ignored[1][reason].Load()
}

func (r *report) collect(m *exporter.Metrics, d descs) {
	for i, signal := range [2]string{"traces", "logs"} {
		for reason := range convention.Reasons {
			m.Counter(d.ignored, float64(r.ignored[i][reason].Load()), signal, reason.String())
		}
	}
	for k := range convention.BadKinds {
		m.Counter(d.bad, float64(r.bad[k].Load()), k.String())
	}
	m.Counter(d.dropped, float64(r.dropped.Load()))
}
