package assessments

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/common/promslog"
	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/convention"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/lineage"
)

var now = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

// server has traces of two experiments, and fails at some requests.
type server struct {
	traces map[string][]lineage.Trace
	asked  int
	fail   func(asked int) error
}

func (s *server) Experiment(_ context.Context, name string) (string, error) {
	return "id of " + name, nil
}

func (s *server) Traces(_ context.Context, experiment string, _ time.Time, most int, page string) (lineage.Page, error) {
	s.asked++
	if s.fail != nil {
		if err := s.fail(s.asked); err != nil {
			return lineage.Page{}, err
		}
	}
	from := 0
	if page != "" {
		from, _ = strconv.Atoi(page)
	}
	all := s.traces[experiment]
	to := min(from+most, len(all))
	p := lineage.Page{Traces: all[from:to]}
	if to < len(all) {
		p.Next = strconv.Itoa(to)
	}
	return p, nil
}

// assessed is a trace with assessments made at these times.
func assessed(n int, at ...time.Time) lineage.Trace {
	t := lineage.Trace{ID: fmt.Sprintf("tr-%032x", n)}
	for i, when := range at {
		t.Assessments = append(t.Assessments, lineage.Assessment{ID: fmt.Sprint("a-", i), Name: "Safety", Created: when, Updated: when, Feedback: &lineage.Feedback{Value: 0.5}})
	}
	return t
}

type world struct {
	*Puller
	server *server
	taken  []convention.Evaluation
	fail   error
}

func newWorld(t *testing.T, file string, experiments ...Experiment) *world {
	t.Helper()
	w := &world{server: &server{traces: make(map[string][]lineage.Trace)}}
	p, err := New(Options{
		Server: w.server, Experiments: experiments, Lookback: time.Hour, File: file, Now: func() time.Time { return now }, Logger: promslog.NewNopLogger(),
		Take: func(e []convention.Evaluation) error {
			if w.fail == nil {
				w.taken = append(w.taken, e...)
			}
			return w.fail
		},
	})
	require.NoError(t, err)
	w.Puller = p
	return w
}

func TestNewAssessmentsAreCountedOnce(t *testing.T) {
	w := newWorld(t, "", Experiment{ID: "1", Model: "chat"}, Experiment{Name: "two"})
	for n := range 250 {
		w.server.traces["1"] = append(w.server.traces["1"], assessed(n, now.Add(time.Minute)))
	}
	w.server.traces["id of two"] = []lineage.Trace{assessed(1000, now.Add(-time.Hour), now.Add(time.Minute), now.Add(2*time.Minute))}
	require.NoError(t, w.Cycle(t.Context()))
	require.Len(t, w.taken, 252, "three pages, and all but what was there before the first look")
	require.Equal(t, 4, w.server.asked)
	require.Equal(t, "chat", w.taken[0].Otherwise)
	require.NoError(t, w.Cycle(t.Context()))
	require.Len(t, w.taken, 252)
	// Of the overlap: a little older than the newest, and not seen yet.
	w.server.traces["id of two"] = append(w.server.traces["id of two"], assessed(1001, now.Add(-2*time.Minute)), assessed(1002, now.Add(-4*time.Minute)))
	require.NoError(t, w.Cycle(t.Context()))
	require.Len(t, w.taken, 253, "but not what is older")
}

func TestAssessmentsAreCountedOnceAfterAFailure(t *testing.T) {
	w := newWorld(t, "", Experiment{ID: "1"}, Experiment{ID: "2"})
	for n := range 250 {
		w.server.traces["1"] = append(w.server.traces["1"], assessed(n, now.Add(time.Duration(n)*time.Minute)))
	}
	w.server.traces["2"] = []lineage.Trace{assessed(1000, now.Add(10*time.Hour))}
	down := errors.New("it is down")
	w.server.fail = func(asked int) error {
		if asked == 2 {
			return down
		}
		return nil
	}
	require.ErrorIs(t, w.Cycle(t.Context()), down)
	require.Len(t, w.taken, 101, "a page, and the other experiment")
	require.Equal(t, now, w.state.Cursor)
	require.NoError(t, w.Cycle(t.Context()))
	require.Len(t, w.taken, 251)
	w.server.traces["2"] = append(w.server.traces["2"], assessed(1001, now.Add(11*time.Hour)))
	w.fail = errors.New("the disk is full")
	require.ErrorContains(t, w.Cycle(t.Context()), "the disk is full")
	w.fail = nil
	require.NoError(t, w.Cycle(t.Context()))
	require.Len(t, w.taken, 252)
}

func TestCursorSurvivesARestart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cursor.json")
	w := newWorld(t, file, Experiment{ID: "1"})
	traces := []lineage.Trace{assessed(1, now.Add(time.Minute))}
	w.server.traces["1"] = traces
	require.NoError(t, w.Cycle(t.Context()))
	require.Len(t, w.taken, 1)
	again := newWorld(t, file, Experiment{ID: "1"})
	again.server.traces["1"] = append(traces, assessed(2, now.Add(time.Minute)), assessed(3, now.Add(-time.Hour)))
	require.NoError(t, again.Cycle(t.Context()))
	require.Len(t, again.taken, 1, "what was made while nobody looked")
	require.NoError(t, os.WriteFile(file, []byte("{"), 0o600))
	_, err := New(w.Options)
	require.EqualError(t, err, "cursor of assessments: "+file+" is not a cursor; delete it to begin with the assessments of now")
	entries, err := os.ReadDir(filepath.Dir(file))
	require.NoError(t, err)
	require.Len(t, entries, 1, "nothing is left beside it")
}

func TestTracesAreBounded(t *testing.T) {
	w := newWorld(t, "", Experiment{ID: "1"})
	w.server.traces["1"] = make([]lineage.Trace, maxTraces+500)
	require.NoError(t, w.Cycle(t.Context()))
	require.Equal(t, maxTraces/PageSize, w.server.asked)
}

func TestAssessmentsAreRead(t *testing.T) {
	invalid := false
	for what, c := range map[string]struct {
		a     lineage.Assessment
		score float64
		label string
		err   string
		none  bool
	}{
		"a number":           {a: lineage.Assessment{Name: "Safety", Feedback: &lineage.Feedback{Value: 0.25}}, score: 0.25},
		"a truth is a label": {a: lineage.Assessment{Name: "safety", Feedback: &lineage.Feedback{Value: false}}, score: math.NaN(), label: "false"},
		"a text is a label":  {a: lineage.Assessment{Name: "safety", Feedback: &lineage.Feedback{Value: "yes"}}, score: math.NaN(), label: "yes"},
		"a judge that failed": {a: lineage.Assessment{Name: "safety", Feedback: &lineage.Feedback{Error: &struct {
			Code string `json:"error_code"`
		}{"RATE_LIMIT"}}}, score: math.NaN(), err: "RATE_LIMIT"},
		"an expectation judges none": {a: lineage.Assessment{Name: "safety"}, none: true},
		"one that was replaced":      {a: lineage.Assessment{Name: "safety", Valid: &invalid, Feedback: &lineage.Feedback{Value: 1.0}}, none: true},
		"a list says nothing":        {a: lineage.Assessment{Name: "safety", Feedback: &lineage.Feedback{Value: []any{1.0}}}, none: true},
	} {
		t.Run(what, func(t *testing.T) {
			c.a.SpanID = "0102030405060708"
			e, ok := evaluation("tr-0102030405060708090a0b0c0d0e0f10", &c.a, "m")
			require.Equal(t, !c.none, ok)
			if c.none {
				return
			}
			require.Equal(t, "safety", e.Name)
			require.Equal(t, c.label, e.Label)
			require.Equal(t, c.err, e.Error)
			require.True(t, e.Score == c.score || math.IsNaN(e.Score) && math.IsNaN(c.score))
			require.Equal(t, byte(16), e.Trace[15])
			require.Equal(t, byte(8), e.Span[7])
		})
	}
}
