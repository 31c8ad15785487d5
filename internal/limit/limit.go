// Package limit limits the number of values of a label.
//
// Input: label values from outside, such as model names, versions, columns and pods. Output: at most a fixed number of distinct values,
// all valid. Further values become Other and are counted. A hostile or faulty client can therefore increase neither memory nor the
// number of series. State: a Limiter keeps the values that it admitted, the first ones to arrive. It never removes one.
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

// Other replaces values beyond the limit.
const Other = "other"

// MaxRunes is the maximum length of an exposed value. Prometheus servers are often configured to reject a whole scrape with longer
// values.
const MaxRunes = 128

// NewDropped returns the counter that all Limiters share.
func NewDropped() *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sightglass_label_values_dropped_total",
		Help: "Times a label value was counted as \"other\" because the limit of distinct values was reached.",
	}, []string{"limit"})
}

// shards is the number of locks. Several locks reduce contention, because every span and request calls Fold.
const shards = 16

// Limiter limits the values of one label. It is safe for concurrent use.
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

// New returns a limiter that admits at most most distinct values. If most is below one, every value becomes Other. name is the value of
// the label "limit" of dropped; New exposes that series at 0.
func New(name string, most int, dropped *prometheus.CounterVec) *Limiter {
	l := &Limiter{most: int64(most), dropped: dropped.WithLabelValues(name), seed: maphash.MakeSeed()}
	for i := range l.shards {
		l.shards[i].values = map[string]string{}
	}
	return l
}

// Fold returns the value to expose: value in a valid form, or Other if the limit is reached. The empty value, which Prometheus treats
// as no label, and Other itself do not count. A known value causes no allocation.
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
	// Reserving before storing keeps the limit exact across shards.
	if l.used.Add(1) > l.most {
		l.used.Add(-1)
		l.dropped.Inc()
		return Other
	}
	// The value may be a small part of a large request, which it would keep in memory.
	value = strings.Clone(value)
	s.values[value] = value
	return value
}

// Valid returns the exposed form of a value, which is the value itself if it is short and valid UTF-8.
func Valid(value string) string {
	if clean(value) {
		return value
	}
	return sanitize(value)
}

func clean(value string) bool {
	return utf8.ValidString(value) && (len(value) <= MaxRunes || utf8.RuneCountInString(value) <= MaxRunes)
}

// sanitize makes value valid and short. It appends a hash of the original, so that values stay distinct if they differ only in the
// removed or replaced characters.
func sanitize(value string) string {
	const digits = 12
	sum := sha256.Sum256([]byte(value))
	// Only the prefix that is kept is repaired, because value may be megabytes long.
	valid := strings.ToValidUTF8(value[:min(len(value), MaxRunes*utf8.UTFMax)], "\uFFFD")
	runes := []rune(valid)
	return string(runes[:min(len(runes), MaxRunes-digits-1)]) + "~" + hex.EncodeToString(sum[:digits/2])
}

// Shares divides one limit among clients, so that no client can use up the share of another.
type Shares map[string]*Limiter

// NewShares creates a limiter for each share with limiter, such as exporter.Env.Limit. Clients without a share use the one under the empty
// name.
func NewShares(name string, most map[string]int, limiter func(name string, most int) *Limiter) Shares {
	s := Shares{}
	for who, n := range most {
		s[who] = limiter(name, n)
	}
	return s
}

// Of returns the limiter of a client.
func (s Shares) Of(who string) *Limiter {
	if l, ok := s[who]; ok {
		return l
	}
	return s[""]
}
