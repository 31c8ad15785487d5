package metering

import (
	"maps"
	"strings"
	"sync"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/convention"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/keep"
	"github.com/sightglass-ml/sightglass/internal/exporter"
	"github.com/sightglass-ml/sightglass/internal/limit"
)

// steps counts the steps of agents that call no model.
type steps struct {
	mu     sync.Mutex
	names  limit.Shares // by client
	most   map[string]int
	counts keep.Map[step, *[2]int64] // succeeded and failed
}

type step struct {
	kind convention.StepKind
	name string
}

// Keep implements keep.Keeper.
func (s step) Keep() step { return step{s.kind, strings.Clone(s.name)} }

// divide gives each client its own limit. If the limits have not changed, the admitted names stay admitted.
func (s *steps) divide(most map[string]int, limiter func(name string, most int) *limit.Limiter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !maps.Equal(s.most, most) {
		s.names, s.most = limit.NewShares("steps", most, limiter), most
	}
}

// Steps counts the steps of a client's request.
func (m *Meter) Steps(client string, list []convention.Step) {
	s := &m.steps
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range list {
		k := step{list[i].Kind, list[i].Name}
		n, ok := s.counts.Get(k)
		if !ok {
			k.name = s.names.Of(client).Fold(k.name)
			if n, ok = s.counts.Get(k); !ok {
				n = s.counts.Put(k, func(step) *[2]int64 { return new([2]int64) })
			}
		}
		if list[i].Failed {
			n[1]++
		} else {
			n[0]++
		}
	}
}

func (s *steps) collect(d *descs) (out exporter.Metrics) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, n := range s.counts.All() {
		out.Counter(d.steps, float64(n[0]), k.kind.String(), k.name, "ok")
		out.Counter(d.steps, float64(n[1]), k.kind.String(), k.name, "error")
	}
	return out
}
