// Package limit bounds the values that a label can take.
//
// Input: label values that come from outside: model names, versions, columns,
// pods. Output: at most so many distinct ones, all of them safe to expose; the
// rest is folded into one value, Other, and counted. A hostile or buggy client
// can therefore neither grow memory nor the number of series. A Limiter owns the
// set of values it let through; first come, first served.
package limit

import (
	"crypto/sha256"
	"encoding/hex"
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
)

// Other is what values past the limit are folded into.
const Other = "other"

// MaxRunes is the longest value that is exposed. Prometheus servers are often
// set up to reject whole scrapes over longer ones.
const MaxRunes = 128

// NewDropped returns the counter that Limiters share.
func NewDropped() *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sightglass_label_values_dropped_total",
		Help: "Times a label value was folded into \"other\" because the limit of distinct values was reached.",
	}, []string{"limit"})
}

// shards spread the locks, since every span or request passes through here.
const shards = 16

// Limiter bounds the values of one label. It is safe for concurrent use.
type Limiter struct {
	most    int64
	used    atomic.Int64
	dropped prometheus.Counter
	seed    maphash.Seed
	shards  [shards]shard
}

type shard struct {
	sync.RWMutex
	values map[string]string
	_      [24]byte // keeps neighbouring locks off one cache line
}

// New returns a limiter that lets at most that many distinct values through; below
// one, everything is folded. The name is its value of the label "limit" of dropped,
// where it shows at 0 from now on.
func New(name string, most int, dropped *prometheus.CounterVec) *Limiter {
	l := &Limiter{most: int64(most), dropped: dropped.WithLabelValues(name), seed: maphash.MakeSeed()}
	for i := range l.shards {
		l.shards[i].values = map[string]string{}
	}
	return l
}

// Fold returns what to expose for value: the value itself in a valid form, or
// Other once the limit was reached. The empty value, which Prometheus
// treats as no label, and Other itself pass without taking a place. A value that
// was seen before costs no allocation.
func (l *Limiter) Fold(value string) string {
	if value == "" || value == Other {
		return value
	}
	value = Valid(value)
	s := &l.shards[maphash.String(l.seed, value)%shards]
	s.RLock()
	known, ok := s.values[value]
	s.RUnlock()
	if ok {
		return known
	}
	return l.admit(s, value)
}

func (l *Limiter) admit(s *shard, value string) string {
	if l.used.Load() >= l.most {
		l.dropped.Inc()
		return Other
	}
	s.Lock()
	defer s.Unlock()
	if known, ok := s.values[value]; ok {
		return known
	}
	// Reserving before storing keeps the bound exact across shards.
	if l.used.Add(1) > l.most {
		l.used.Add(-1)
		l.dropped.Inc()
		return Other
	}
	// A copy, since the value may be a small part of a large request.
	value = strings.Clone(value)
	s.values[value] = value
	return value
}

// Valid returns the form in which a value is exposed, which is the value itself if it is short and valid.
func Valid(value string) string {
	if clean(value) {
		return value
	}
	return sanitize(value)
}

func clean(value string) bool {
	return utf8.ValidString(value) && (len(value) <= MaxRunes || utf8.RuneCountInString(value) <= MaxRunes)
}

// sanitize makes value valid and short. The hash of the original keeps values
// apart that differ only in what was cut off or replaced.
func sanitize(value string) string {
	const digits = 12
	sum := sha256.Sum256([]byte(value))
	// Only the part that can be kept is repaired: value may be megabytes.
	valid := strings.ToValidUTF8(value[:min(len(value), MaxRunes*utf8.UTFMax)], "\uFFFD")
	runes := []rune(valid)
	return string(runes[:min(len(runes), MaxRunes-digits-1)]) + "~" + hex.EncodeToString(sum[:digits/2])
}
