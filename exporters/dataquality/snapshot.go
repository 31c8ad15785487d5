package dataquality

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/sightglass-ml/sightglass/internal/tables"
)

// snapshot identifies the content of a dataset at a profile.
type snapshot struct {
	// Name identifies the data for a person or a job that reads it again: the result of the snapshot query; otherwise the
	// window as an ISO 8601 interval; otherwise, for a table without a window, the digest.
	Name string `json:"name"`
	// Digest differs if the content differs.
	Digest string `json:"digest"`
}

// digest hashes the schema, the number of rows and, for each column, the counts and the moments to nine digits.
// Floating-point sums in another order differ only in about the sixteenth digit. An unchanged table has the same digest in
// each profile: without a timestamp column, the ages of dates and times are left out, since they grow. 64 bits of SHA-256
// distinguish the snapshots of one dataset and are short enough for a label.
func digest(schema []tables.Column, p tables.Profile, timestamp string, order func(column string, bins map[string]int64) []string) (string, error) {
	values, numbers := counted(schema, p, timestamp)
	content, err := json.Marshal(schema)
	if err != nil {
		return "", fmt.Errorf("digest: %w", err)
	}
	content = append(append(make([]byte, 0, 16<<10), `{"Schema":`...), content...)
	content = append(strconv.AppendInt(append(content, `,"Rows":`...), p.Rows, 10), `,"Nulls":`...)
	content = appendMap(content, p.Nulls, slices.Sorted(maps.Keys(p.Nulls)), appendInt)
	content = append(appendMap(append(content, `,"Values":`...), values, slices.Sorted(maps.Keys(values)), func(to []byte, column string, bins map[string]int64) []byte {
		return appendMap(to, bins, order(column, bins), appendInt)
	}), `,"Numbers":`...)
	content = append(appendMap(content, numbers, slices.Sorted(maps.Keys(numbers)), func(to []byte, _, text string) []byte { return appendText(to, text) }), '}')
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:8]), nil
}

// counted returns the hashed content besides the schema, the number of rows and the missing values.
func counted(schema []tables.Column, p tables.Profile, timestamp string) (values map[string]map[string]int64, numbers map[string]string) {
	values = maps.Clone(p.Values)
	if timestamp == "" {
		for _, c := range schema {
			if c.Class == tables.Timestamp || c.Class == tables.TimestampTZ || c.Class == tables.Date {
				delete(values, c.Name)
			}
		}
	}
	numbers = make(map[string]string, len(p.Numbers))
	for column, m := range p.Numbers {
		numbers[column] = fmt.Sprintf("%d %v %v %.9g %.9g", m.Values, m.Min, m.Max, m.Mean, m.Stddev)
	}
	return values, numbers
}

func appendInt(to []byte, _ string, n int64) []byte { return strconv.AppendInt(to, n, 10) }

// appendMap appends a map as encoding/json does, in the order of keys. Reflection would take half of the digest's time.
func appendMap[V any](to []byte, of map[string]V, keys []string, value func(to []byte, key string, v V) []byte) []byte {
	if of == nil {
		return append(to, "null"...)
	}
	to = append(to, '{')
	for i, key := range keys {
		if i > 0 {
			to = append(to, ',')
		}
		to = value(append(appendText(to, key), ':'), key, of[key])
	}
	return append(to, '}')
}

// appendText appends a string as encoding/json does.
func appendText(to []byte, text string) []byte {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			quoted, _ := json.Marshal(text) // Marshalling a string cannot fail.
			return append(to, quoted...)
		}
	}
	return append(append(append(to, '"'), text...), '"')
}

func interval(w tables.Window) string {
	return w.From.UTC().Format(time.RFC3339) + "/" + w.To.UTC().Format(time.RFC3339)
}

// lastGood is the last snapshot whose profile passed every check, with the row counts of such profiles. It is stored beside
// the baselines, so that a restart during an incident does not make the incident the reference.
type lastGood struct {
	Snapshot snapshot  `json:"snapshot"`
	Time     time.Time `json:"time"`
	Volumes  []volume  `json:"volumes"`
	// Nulls are the shares of missing values in the first days, by column. Arrived are the shares of a window's rows that are
	// there when it ends, by kind of window. Profiles that are not good update both, too.
	Nulls   map[string]nullShare `json:"nulls,omitempty"`
	Arrived map[string]float64   `json:"arrived,omitempty"`
	// Passed are the last snapshots that passed and can be read again. Watched is when the first one that can be read again was
	// profiled.
	Passed  []passed  `json:"passed,omitempty"`
	Watched time.Time `json:"watched,omitzero"`
}

func (g *lastGood) setArrived(window string, share float64) {
	if g.Arrived == nil {
		g.Arrived = make(map[string]float64)
	}
	g.Arrived[window] = share
}

type volume struct {
	Time time.Time `json:"time"`
	Rows int64     `json:"rows"`
}

// One volume an hour is kept for a week.
const (
	volumeEvery = time.Hour
	volumeKept  = 7 * 24 * time.Hour
)

// accept sets s as the last good snapshot.
func (g *lastGood) accept(s snapshot, now time.Time) { g.Snapshot, g.Time = s, now }

// noteVolume notes the rows of a good profile.
func (g *lastGood) noteVolume(rows int64, now time.Time) {
	g.Volumes = slices.DeleteFunc(g.Volumes, func(v volume) bool { return now.Sub(v.Time) > volumeKept })
	if n := len(g.Volumes); n == 0 || now.Sub(g.Volumes[n-1].Time) >= volumeEvery {
		g.Volumes = append(g.Volumes, volume{now, rows})
	}
}

// medianVolume returns the median volume of the last week's good profiles.
func (g *lastGood) medianVolume(now time.Time) (rows int64, ok bool) {
	var recent []int64
	for _, v := range g.Volumes {
		if now.Sub(v.Time) <= volumeKept {
			recent = append(recent, v.Rows)
		}
	}
	if len(recent) == 0 {
		return 0, false
	}
	slices.Sort(recent)
	return recent[len(recent)/2], true
}

// failedCheck returns the first reason why a profile is not good, or an empty string. It applies the conditions and
// thresholds of the alerts with two differences. The exporter compares the volume with the median of the last week's good
// profiles, since it has no history of weeks in Prometheus. And it does not wait before it decides: a snapshot that was bad
// for one profile must not be replayed.
func (d *dataset) failedCheck(c *cycle) string {
	limit := func(signal, column string) float64 { return d.threshold(signal, column) }
	p, w := c.profile, d.fullWindow(c)
	if p.Rows == 0 {
		return "no rows"
	}
	for _, ch := range c.changes {
		// An added column does not affect consumers that read columns by name.
		if ch.kind != added {
			return fmt.Sprintf("schema: column %q %s", ch.column, ch.kind)
		}
	}
	if age := c.now.Sub(c.latest).Seconds(); d.cfg.TimestampColumn != "" && age > d.freshnessLimit(c) {
		return fmt.Sprintf("latest record is %.0f s old", age)
	}
	if median, ok := c.good.medianVolume(c.now); ok {
		if share := math.Abs(float64(p.Rows-median)) / float64(max(median, 1)); share > limit(signalVolume, "") {
			return fmt.Sprintf("%d rows, the median is %d", p.Rows, median)
		}
	}
	for _, u := range c.upstreams {
		if lost := 1 - float64(p.Rows)/float64(max(u.rows, 1)); lost > limit(signalRowDrop, "") {
			return fmt.Sprintf("%d of the %d rows of upstream %q are here", p.Rows, u.rows, u.name)
		}
	}
	for _, m := range c.comparisons {
		if share := float64(m.mismatched) / float64(max(m.compared, 1)); share > limit(signalMismatch, "") {
			return fmt.Sprintf("%d of %d rows differ from %q", m.mismatched, m.compared, m.against)
		}
	}
	if why := d.brokenCheck(c); why != "" {
		return why
	}
	for _, column := range slices.Sorted(maps.Keys(p.Nulls)) {
		if share, beyond := w.nulls(column); beyond {
			return fmt.Sprintf("column %q: %.4f of the values are null", column, share)
		}
	}
	for _, column := range slices.Sorted(maps.Keys(p.Values)) {
		values := p.Values[column]
		if share, beyond := w.unseen(column); beyond {
			return fmt.Sprintf("column %q: %.4f of the values are unseen", column, share)
		}
		if why := d.numbersCheck(c, column, values); why != "" {
			return why
		}
		if x, b, beyond := w.drift(column); beyond {
			return fmt.Sprintf("column %q: PSI %.3f against the %s baseline", column, x.PSI, b.name)
		}
	}
	return ""
}
