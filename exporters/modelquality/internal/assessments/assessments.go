// Package assessments pulls evaluations of responses that are in MLflow but not in OTLP.
//
// Input: the traces of experiments with their assessments, through MLflow's API, periodically. Output: evaluations, each once. State: the
// Puller's cursor, which is the time up to which it has read; with a file it outlives the process. The package never requests or keeps the
// texts of traces.
package assessments

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/convention"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/lineage"
	"github.com/sightglass-ml/sightglass/internal/catalogue"
	"github.com/sightglass-ml/sightglass/internal/exporter"
)

// Limits of one cycle.
const (
	PageSize  = 100
	maxTraces = 20_000
	// overlap is the time that is read again before the cursor. Clocks differ, so an assessment can appear later than others with a later
	// time.
	overlap = 5 * time.Minute
	// maxTaken limits the assessments that are remembered within the overlap.
	maxTaken = 200_000
	maxText  = 512
)

// Server provides experiments and traces.
type Server interface {
	Experiment(ctx context.Context, name string) (string, error)
	Traces(ctx context.Context, experiment string, since time.Time, most int, page string) (lineage.Page, error)
}

var _ Server = (*lineage.Registry)(nil)

// Experiment is an MLflow experiment whose traces are read.
type Experiment struct {
	// ID, or Name if ID is empty.
	ID, Name string
	// Model is used if the exporter has not received the spans of a trace; it may be empty.
	Model string
}

// Options configure a Puller.
type Options struct {
	Server      Server
	Experiments []Experiment
	// Lookback is the maximum age of a trace whose assessments are read.
	Lookback time.Duration
	// File stores the cursor; it may be empty.
	File string
	// Take counts evaluations. After an error the same evaluations are passed again.
	Take   func([]convention.Evaluation) error
	Now    func() time.Time
	Logger *slog.Logger
}

// Puller pulls assessments.
type Puller struct {
	Options
	descs     descs
	ids       map[string]string // experiment IDs by name
	truncated bool

	mu              sync.Mutex
	state           state
	counted, passed int64
}

// state is the stored progress.
type state struct {
	// Cursor is the time of the last assessment.
	Cursor time.Time `json:"cursor"`
	// Taken has the times of the assessments within the overlap, by ID.
	Taken map[string]time.Time `json:"taken"`
}

type descs struct{ assessments, cursor *prometheus.Desc }

// Declare declares the metrics of a Puller in the reference.
func Declare(c *catalogue.Catalogue) { newDescs(c) }

func newDescs(c *catalogue.Catalogue) descs {
	return descs{
		assessments: c.Counter("sightglass_mlflow_assessments_total", "Assessments read from MLflow's traces: used, or skipped because they are expectations, replaced or without a value.", "result"),
		cursor:      c.Gauge("sightglass_mlflow_assessments_cursor_timestamp_seconds", "Time of the newest assessment that was read from MLflow's traces."),
	}
}

// New returns a Puller. Without a stored cursor it starts with the present time.
func New(o Options) (*Puller, error) {
	if o.Server == nil || len(o.Experiments) == 0 || o.Lookback <= 0 || o.Take == nil || o.Now == nil || o.Logger == nil {
		return nil, errors.New("assessments need a server, experiments, a lookback above 0, a taker, a clock and a logger")
	}
	p := &Puller{Options: o, descs: newDescs(new(catalogue.Catalogue)), ids: make(map[string]string), state: state{Cursor: o.Now(), Taken: make(map[string]time.Time)}}
	if o.File == "" {
		return p, nil
	}
	data, err := os.ReadFile(o.File)
	if errors.Is(err, os.ErrNotExist) {
		return p, p.save()
	}
	if err != nil {
		return nil, fmt.Errorf("cursor of assessments: %w", err)
	}
	var s state
	if err := json.Unmarshal(data, &s); err != nil || s.Cursor.IsZero() {
		return nil, fmt.Errorf("cursor of assessments: %s is not a cursor; delete it to begin with the assessments of now", o.File)
	}
	if s.Taken == nil {
		s.Taken = make(map[string]time.Time)
	}
	p.state = s
	return p, nil
}

// Cycle reads new assessments. An experiment that fails does not stop the others.
func (p *Puller) Cycle(ctx context.Context) error {
	cursor := p.state.Cursor
	var errs []error
	for _, e := range p.Experiments {
		newest, err := p.pull(ctx, e)
		if err != nil {
			errs = append(errs, fmt.Errorf("assessments: %w", err))
		}
		if newest.After(cursor) {
			cursor = newest
		}
	}
	p.mu.Lock()
	// After an error the cursor stays, and the next cycle skips what Taken contains.
	if len(errs) == 0 || len(p.state.Taken) > maxTaken {
		p.state.Cursor = cursor
		maps.DeleteFunc(p.state.Taken, func(_ string, at time.Time) bool { return at.Before(cursor.Add(-overlap)) })
	}
	p.mu.Unlock()
	if err := p.save(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// pull reads one experiment and returns the time of its newest assessment.
func (p *Puller) pull(ctx context.Context, e Experiment) (newest time.Time, err error) {
	id, err := p.id(ctx, e)
	if err != nil {
		return newest, err
	}
	since, page := p.Now().Add(-p.Lookback), ""
	for traces := 0; ; {
		found, err := p.Server.Traces(ctx, id, since, PageSize, page)
		if err != nil {
			return newest, err
		}
		last, err := p.take(found.Traces, e.Model)
		if err != nil {
			return newest, err
		}
		if last.After(newest) {
			newest = last
		}
		if traces += len(found.Traces); found.Next == "" || found.Next == page || len(found.Traces) == 0 {
			return newest, nil
		}
		if page = found.Next; traces >= maxTraces {
			if !p.truncated {
				p.Logger.Warn("An experiment has more traces than assessments are read of; shorten mlflow.assessments.lookback", "experiment", id, "traces", traces)
			}
			p.truncated = true
			return newest, nil
		}
	}
}

func (p *Puller) id(ctx context.Context, e Experiment) (string, error) {
	if e.ID != "" {
		return e.ID, nil
	}
	if id := p.ids[e.Name]; id != "" {
		return id, nil
	}
	id, err := p.Server.Experiment(ctx, e.Name)
	if err == nil {
		p.ids[e.Name] = id
	}
	return id, err
}

// take passes on the new assessments of a page.
func (p *Puller) take(traces []lineage.Trace, model string) (newest time.Time, err error) {
	var evaluations []convention.Evaluation
	fresh, passed := make(map[string]time.Time), int64(0)
	for i := range traces {
		for j := range traces[i].Assessments {
			a := &traces[i].Assessments[j]
			at := a.Updated
			if at.IsZero() {
				at = a.Created
			}
			id := traces[i].ID + "/" + a.ID
			if _, taken := p.state.Taken[id]; taken || at.Before(p.state.Cursor.Add(-overlap)) {
				continue
			}
			if at.After(newest) {
				newest = at
			}
			fresh[id] = at
			if e, ok := evaluation(traces[i].ID, a, model); ok {
				evaluations = append(evaluations, e)
			} else {
				passed++
			}
		}
	}
	if len(evaluations) > 0 {
		if err := p.Take(evaluations); err != nil {
			return time.Time{}, err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.Copy(p.state.Taken, fresh)
	p.counted += int64(len(evaluations))
	p.passed += passed
	return newest, nil
}

// evaluation converts an assessment. Expectations are skipped: they describe the right answer and evaluate none.
func evaluation(trace string, a *lineage.Assessment, model string) (convention.Evaluation, bool) {
	e := convention.Evaluation{
		Of: -1, Inside: true, Logged: true, Pulled: true, Otherwise: model, Name: strings.ToLower(clip(a.Name)), Explanation: a.Rationale,
		Score: math.NaN(), Time: a.Created.UnixNano(),
	}
	if a.Name == "" || a.Feedback == nil || a.Valid != nil && !*a.Valid {
		return e, false
	}
	// A trace that came from OpenTelemetry has the same ID.
	decode(e.Trace[:], strings.TrimPrefix(trace, "tr-"))
	decode(e.Span[:], a.SpanID)
	switch v := a.Feedback.Value.(type) {
	case float64:
		e.Score = v
	case bool:
		e.Label = fmt.Sprint(v)
	case string:
		e.Label = clip(v)
	default:
		if a.Feedback.Error == nil {
			return e, false
		}
		e.Error = clip(a.Feedback.Error.Code)
		if e.Error == "" {
			e.Error = "error"
		}
	}
	return e, true
}

func clip(s string) string { return strings.ToValidUTF8(s[:min(len(s), maxText)], "") }

// decode decodes a hexadecimal ID. It leaves zeros if the text is not one.
func decode(into []byte, text string) {
	b, err := hex.DecodeString(text)
	if err == nil && len(b) == len(into) {
		copy(into, b)
	}
}

// save writes the cursor atomically: after a crash the file has the old or the new cursor.
func (p *Puller) save() error {
	if p.File == "" {
		return nil
	}
	p.mu.Lock()
	data, err := json.Marshal(p.state)
	p.mu.Unlock()
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(p.File), filepath.Base(p.File)+".*")
	if err != nil {
		return fmt.Errorf("cursor of assessments: %w", err)
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), p.File)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("cursor of assessments: %w", err)
	}
	return nil
}

var _ prometheus.Collector = (*Puller)(nil)

// Describe implements prometheus.Collector.
func (p *Puller) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (p *Puller) Collect(ch chan<- prometheus.Metric) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var m exporter.Metrics
	m.Counter(p.descs.assessments, float64(p.counted), "taken")
	m.Counter(p.descs.assessments, float64(p.passed), "passed")
	m.Gauge(p.descs.cursor, float64(p.state.Cursor.UnixMilli())/1e3)
	for _, metric := range m {
		ch <- metric
	}
}
