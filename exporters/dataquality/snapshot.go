package dataquality

import (
	"cmp"
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

// snapshot identifies what a profile looked at.
type snapshot struct {
	// Name is what a person or a job replays from: the version that the
	// dataset's snapshot query returns, else the window as an ISO 8601
	// interval, else, for a table without a window, the digest.
	Name string `json:"name"`
	// Digest tells two contents apart.
	Digest string `json:"digest"`
}

// digest hashes the schema, the number of rows and, of every column, the counts and
// the moments, to nine digits: a sum in another order differs in the sixteenth. It is
// of the content alone: a table that stays as it is has one digest, whenever it is
// profiled. Ages of a table without a timestamp column, which grow by themselves, are
// left out. Two tables with the same digest are, for all that Sightglass watches, the
// same. 64 bits of SHA-256 are enough to tell apart the snapshots of one dataset, and
// short enough for a label.
func digest(schema []tables.Column, p tables.Profile, timestamp string, order func(column string, bins map[string]int64) []string) (string, error) {
	values, numbers := counted(schema, p, timestamp)
	content, err := json.Marshal(schema)
	if err != nil {
		return "", fmt.Errorf("digest: %w", err)
	}
	content = append(append(make([]byte, 0, 16<<10), `{"Schema":`...), content...)
	content = append(strconv.AppendInt(append(content, `,"Rows":`...), p.Rows, 10), `,"Nulls":`...)
	content = appendMap(content, p.Nulls, sortedKeys(p.Nulls), appendInt)
	content = append(appendMap(append(content, `,"Values":`...), values, sortedKeys(values), func(to []byte, column string, bins map[string]int64) []byte {
		return appendMap(to, bins, order(column, bins), appendInt)
	}), `,"Numbers":`...)
	content = append(appendMap(content, numbers, sortedKeys(numbers), func(to []byte, _, text string) []byte { return appendText(to, text) }), '}')
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:8]), nil
}

// counted is what a digest is of, beside the schema, the number of rows and the missing values.
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

// appendMap appends a map as encoding/json does; its keys are sorted. Reflection is half of what a digest costs.
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
			quoted, _ := json.Marshal(text) // Any string is JSON.
			return append(to, quoted...)
		}
	}
	return append(append(append(to, '"'), text...), '"')
}

func interval(w tables.Window) string {
	return w.From.UTC().Format(time.RFC3339) + "/" + w.To.UTC().Format(time.RFC3339)
}

// lastGood is the last snapshot whose profile passed every check, and the
// volumes that such profiles had. It is stored beside the baselines, so that a
// restart in the middle of an incident does not take the incident for normal.
type lastGood struct {
	Snapshot snapshot  `json:"snapshot"`
	Time     time.Time `json:"time"`
	Volumes  []volume  `json:"volumes"`
	// Nulls are the shares of missing values in the first days, by column, and Arrived the shares of a window's rows that are
	// there when it ends, by kind of window. Neither needs a good profile.
	Nulls   map[string]nullShare `json:"nulls,omitempty"`
	Arrived map[string]float64   `json:"arrived,omitempty"`
	// Passed are the snapshots that passed and can be had again, the last ones.
	Passed []passed `json:"passed,omitempty"`
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

// Volumes are kept once an hour for a week.
const (
	volumeEvery = time.Hour
	volumeKept  = 7 * 24 * time.Hour
)

// accept makes s the last good snapshot.
func (g *lastGood) accept(s snapshot, rows int64, now time.Time) {
	g.Snapshot, g.Time = s, now
	g.Volumes = slices.DeleteFunc(g.Volumes, func(v volume) bool { return now.Sub(v.Time) > volumeKept })
	if n := len(g.Volumes); n == 0 || now.Sub(g.Volumes[n-1].Time) >= volumeEvery {
		g.Volumes = append(g.Volumes, volume{now, rows})
	}
}

// usual is the median volume of the good profiles of the last week.
func (g *lastGood) usual(now time.Time) (rows int64, ok bool) {
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

// failedCheck says why a profile cannot be the last good one, or returns the
// empty string. The checks are those of the alerts, by the same thresholds, with
// two differences: the exporter has no history of weeks, so it compares the
// volume with the median of the last week's good profiles; and it does not wait,
// since a snapshot that was bad for a moment is a bad one to replay from.
func (d *dataset) failedCheck(c *cycle) string {
	limit := func(signal, column string) float64 { return d.threshold(signal, column) }
	p, w := c.profile, d.fullWindow(c)
	if p.Rows == 0 {
		return "no rows"
	}
	for _, ch := range c.changes {
		// Who reads columns by name does not notice one more.
		if ch.kind != added {
			return fmt.Sprintf("schema: column %q %s", ch.column, ch.kind)
		}
	}
	if age := c.now.Sub(c.latest).Seconds(); d.cfg.TimestampColumn != "" && age > d.freshnessLimit(c) {
		return fmt.Sprintf("latest record is %.0f s old", age)
	}
	if usual, ok := c.good.usual(c.now); ok {
		if share := math.Abs(float64(p.Rows-usual)) / float64(max(usual, 1)); share > limit(signalVolume, "") {
			return fmt.Sprintf("%d rows, usual are %d", p.Rows, usual)
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
	for _, column := range sortedKeys(p.Nulls) {
		if share, beyond := w.nulls(column); beyond {
			return fmt.Sprintf("column %q: %.4f of the values are null", column, share)
		}
	}
	for _, column := range sortedKeys(p.Values) {
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

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
