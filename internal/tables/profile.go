package tables

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sightglass-ml/sightglass/internal/binning"
)

// Fields selects what is counted of each column: bins for a column with a layout, only nulls for a column with a nil layout.
type Fields map[string]*binning.Layout

// Profile is the result of one scan of a window.
type Profile struct {
	Rows int64
	// Latest is the latest record time in the window. It is zero without a timestamp column or without rows.
	Latest time.Time
	// Nulls has the number of missing values of each counted column.
	Nulls map[string]int64
	// Values has the number of values in each bin of each column with a layout.
	Values map[string]map[string]int64
	// Numbers has the moments of each numeric column that has a layout and values.
	Numbers map[string]Moments
	// Unreadable are the files that were skipped.
	Unreadable []string
}

// Count scans the window once and counts rows, latest time, nulls and bins. schema is the relation's current schema. Fields that are
// not in the schema are missing in the result. Ages are measured from asOf if the relation has no timestamp column.
func (s *Source) Count(ctx context.Context, r Relation, schema []Column, w Window, fields Fields, asOf time.Time) (Profile, error) {
	if r.virtual != nil {
		return virtualProfile(r.virtual, schema, w, fields)
	}
	q, err := s.profileQuery(ctx, r, schema, w, fields, asOf)
	if errors.Is(err, errEmpty) {
		return Profile{Nulls: map[string]int64{}, Values: map[string]map[string]int64{}, Numbers: map[string]Moments{}}, nil
	}
	if err != nil {
		return Profile{}, err
	}
	values, err := s.queryRow(ctx, "SELECT "+strings.Join(q.exprs, ",\n  ")+"\nFROM "+q.from, len(q.exprs))
	if err != nil {
		return Profile{}, fmt.Errorf("profile: %w", err)
	}
	return q.decode(values)
}

// Hourly is Count for each hour of the window in one scan. The keys are the starts of the hours; hours without rows are absent. The
// relation must have a timestamp column.
func (s *Source) Hourly(ctx context.Context, r Relation, schema []Column, w Window, fields Fields) (map[time.Time]Profile, error) {
	if r.virtual != nil {
		return virtualHours(r.virtual, schema, w, fields)
	}
	at, err := timeColumn(r, schema)
	if err != nil {
		return nil, err
	}
	q, err := s.profileQuery(ctx, r, schema, w, fields, w.To)
	if errors.Is(err, errEmpty) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	hour := "floor((" + s.dialect.epoch(s.dialect.identifier(r.Time), at.Class) + ") / 3600)"
	if d, ok := s.dialect.(bigQuery); ok {
		hour = d.castInteger(hour)
	}
	exprs := append([]string{hour}, q.exprs...)
	rows, err := s.query(ctx, "SELECT "+strings.Join(exprs, ",\n  ")+"\nFROM "+q.from+"\nGROUP BY "+hour)
	if err != nil {
		return nil, fmt.Errorf("profile by hour: %w", s.redact(err))
	}
	defer rows.Close()
	profiles := make(map[time.Time]Profile)
	for rows.Next() {
		values, err := scan(rows, len(exprs))
		if err != nil {
			return nil, fmt.Errorf("profile by hour: %w", s.redact(err))
		}
		hour, err := toInt(values[0])
		if err != nil {
			return nil, fmt.Errorf("profile by hour: %w", err)
		}
		start := time.Unix(hour*3600, 0).UTC()
		if profiles[start], err = q.decode(values[1:]); err != nil {
			return nil, err
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("profile by hour: %w", s.redact(err))
	}
	return profiles, nil
}

// profileQuery is the SQL of a profile, and the data to decode a row of its result.
type profileQuery struct {
	exprs  []string
	from   string
	time   string // the timestamp column; empty without one
	fields Fields
	// plain are the columns without bins, which share one array. binned are the other columns.
	plain, binned []Column
	tallies       []tally
	// measured are the numeric ones of the binned columns.
	measured []Column
	// skipped are the files that cannot be read.
	skipped []string
}

func (s *Source) profileQuery(ctx context.Context, r Relation, schema []Column, w Window, fields Fields, asOf time.Time) (profileQuery, error) {
	d := s.dialect
	schema = slices.Clone(schema)
	for i, c := range schema {
		if l := fields[c.Name]; c.nanMissing && l != nil && hasOldNaN(*l) {
			schema[i].read = c.withNaN
		}
	}
	sc, err := s.fromClause(ctx, r, schema)
	if err != nil {
		return profileQuery{}, fmt.Errorf("profile: %w", err)
	}
	where, err := s.condition(r, schema, w)
	if err != nil {
		return profileQuery{}, err
	}
	before, err := ageIn(d, r, schema, asOf)
	if err != nil {
		return profileQuery{}, err
	}
	q := profileQuery{exprs: []string{"count(*)"}, from: sc.from + " AS t" + where, time: r.Time, fields: fields, skipped: sc.skipped}
	if r.Time != "" {
		q.exprs = append(q.exprs, "max("+d.identifier(r.Time)+")")
	}
	var plainCounts []string
	for _, c := range schema {
		layout, ok := fields[c.Name]
		switch {
		case !ok:
		case layout == nil || !fits(layout.Kind, c.Class):
			q.plain = append(q.plain, c)
			plainCounts = append(plainCounts, "count("+d.identifier(c.Name)+")")
		default:
			t := newTally(d, d.identifier(c.Name), c.Class, *layout, before)
			q.binned = append(q.binned, c)
			q.tallies = append(q.tallies, t)
			q.exprs = append(q.exprs, t.expr)
		}
	}
	for _, c := range q.binned {
		if c.Class.isNumber() {
			q.measured = append(q.measured, c)
			q.exprs = append(q.exprs, momentsOf(d, d.identifier(c.Name), c.Class))
		}
	}
	if len(q.plain) > 0 {
		q.exprs = append(q.exprs, d.array(plainCounts))
	}
	return q, nil
}

func (q profileQuery) decode(values []any) (Profile, error) {
	p := Profile{Unreadable: q.skipped, Nulls: make(map[string]int64), Values: make(map[string]map[string]int64), Numbers: make(map[string]Moments)}
	var err error
	if p.Rows, err = toInt(values[0]); err != nil {
		return Profile{}, fmt.Errorf("profile: rows: %w", err)
	}
	values = values[1:]
	if q.time != "" {
		if p.Latest, err = toTime(values[0]); err != nil {
			return Profile{}, fmt.Errorf("profile: timestamp column %q: %w", q.time, err)
		}
		values = values[1:]
	}
	for i, c := range q.binned {
		counts, err := toInts(values[i])
		if err == nil && len(counts) == 0 {
			err = fmt.Errorf("no counts")
		}
		var bins map[string]int64
		if err == nil {
			bins, err = q.tallies[i].decode(counts)
		}
		if err != nil {
			return Profile{}, fmt.Errorf("profile: column %q: %w", c.Name, err)
		}
		p.Nulls[c.Name] = p.Rows - counts[0]
		if q.fields[c.Name].NaNMissing {
			// The bins were chosen while NaN counted as missing, so it counts as missing here too.
			p.Nulls[c.Name] += bins[binning.NaN]
			delete(bins, binning.NaN)
		}
		bins[binning.Null] = p.Nulls[c.Name]
		for _, bin := range q.fields[c.Name].Bins() {
			// The column had floating-point values when the bins were chosen. If its type is different now, there is no NaN and its
			// count is 0.
			bins[bin] += 0
		}
		p.Values[c.Name] = bins
	}
	for i, c := range q.measured {
		m, err := decodeMoments(values[len(q.binned)+i])
		if err != nil {
			return Profile{}, fmt.Errorf("profile: moments of column %q: %w", c.Name, err)
		}
		if m.Valid() {
			p.Numbers[c.Name] = m
		}
	}
	if len(q.plain) > 0 {
		counts, err := toInts(values[len(values)-1])
		if err != nil {
			return Profile{}, fmt.Errorf("profile: columns without bins: %w", err)
		}
		if len(counts) != len(q.plain) {
			return Profile{}, fmt.Errorf("profile: counts of %d columns, expected %d", len(counts), len(q.plain))
		}
		for i, c := range q.plain {
			p.Nulls[c.Name] = p.Rows - counts[i]
		}
	}
	return p, nil
}

// hasOldNaN reports whether bins count NaN as a value although files are read with NaN as a missing one: those of version 0.1, and those of
// spans. Counts by them stay comparable only if NaN stays in its bin. Other bins have a minimum and a maximum.
func hasOldNaN(l binning.Layout) bool {
	return l.Kind == binning.Numeric && l.Float && !l.NaNMissing && !l.Ranged
}

// fits reports whether values of the class can be counted by a layout of the kind. It is false after a column changed its type, for
// example from text to number; the schema change is reported instead.
func fits(kind binning.Kind, class Class) bool {
	switch kind {
	case binning.Numeric:
		return class == Integer || class == Decimal || class == Float
	case binning.Aged:
		return class.isTime()
	}
	return class != Opaque
}

// queryRow runs a query that returns one row.
func (s *Source) queryRow(ctx context.Context, query string, columns int) ([]any, error) {
	rows, err := s.query(ctx, query)
	if err != nil {
		return nil, s.redact(err)
	}
	defer rows.Close()
	if !rows.Next() {
		if err := rows.Err(); err != nil {
			return nil, s.redact(err)
		}
		return nil, fmt.Errorf("no result")
	}
	values, err := scan(rows, columns)
	if err != nil {
		return nil, s.redact(err)
	}
	// Drivers that stream report a failure of the server after the last row.
	for rows.Next() {
	}
	return values, s.redact(rows.Err())
}

func toTime(v any) (time.Time, error) {
	switch v := v.(type) {
	case nil:
		return time.Time{}, nil
	case time.Time:
		// ClickHouse returns the epoch as the maximum of no rows.
		if v.Unix() == 0 {
			return time.Time{}, nil
		}
		return v.UTC(), nil
	case string:
		// PostgreSQL's infinite times have no freshness.
		if v == "infinity" || v == "-infinity" {
			return time.Time{}, nil
		}
	}
	return time.Time{}, fmt.Errorf("%T, expected a time", v)
}

// toInts reads an array of counts from any type that a driver returns.
func toInts(v any) ([]int64, error) {
	if parts, ok := arrayText(v); ok {
		if len(parts) == 0 {
			return nil, nil
		}
		counts := make([]int64, len(parts))
		for i, p := range parts {
			n, err := strconv.ParseInt(p, 10, 64)
			if err != nil {
				return nil, fmt.Errorf("count %d: %w", i, err)
			}
			counts[i] = n
		}
		return counts, nil
	}
	list, err := listOf(v)
	if err != nil {
		return nil, err
	}
	counts := make([]int64, len(list))
	for i := range counts {
		n, err := toInt(list[i])
		if err != nil {
			return nil, fmt.Errorf("count %d: %w", i, err)
		}
		counts[i] = n
	}
	return counts, nil
}

// listOf returns the elements of an array of any type that a driver returns.
func listOf(v any) ([]any, error) {
	list := reflect.ValueOf(v)
	if list.Kind() != reflect.Slice {
		return nil, fmt.Errorf("%T, expected an array of numbers", v)
	}
	elements := make([]any, list.Len())
	for i := range elements {
		element := list.Index(i)
		if element.Kind() == reflect.Pointer {
			if element.IsNil() {
				continue
			}
			element = element.Elem()
		}
		elements[i] = element.Interface()
	}
	return elements, nil
}

// toNumbers reads an array of numbers from any type that a driver returns. NULL becomes NaN.
func toNumbers(v any) ([]float64, error) {
	elements, ok := arrayText(v)
	if !ok {
		list, err := listOf(v)
		if err != nil {
			return nil, err
		}
		elements = make([]string, len(list))
		for i, e := range list {
			elements[i] = toText(e)
		}
	}
	values := make([]float64, len(elements))
	for i, e := range elements {
		if e == "" || strings.EqualFold(e, "null") {
			values[i] = math.NaN()
			continue
		}
		var err error
		if values[i], err = strconv.ParseFloat(strings.Trim(e, `"`), 64); err != nil {
			return nil, fmt.Errorf("number %d: %w", i, err)
		}
	}
	return values, nil
}

// arrayText splits an array that a driver returns as text: {1,2,3} from PostgreSQL, or JSON from a database without arrays.
func arrayText(v any) (parts []string, ok bool) {
	text, ok := v.(string)
	if b, bytes := v.([]byte); bytes {
		text, ok = string(b), true
	}
	text = strings.Trim(text, "{}[] \n")
	if !ok || text == "" {
		return nil, ok
	}
	parts = strings.Split(text, ",")
	for i, p := range parts {
		parts[i] = strings.TrimSpace(p)
	}
	return parts, true
}

// toInt reads a whole number from any type that a driver returns. NULL is 0, the sum of no rows.
func toInt(v any) (int64, error) {
	switch v := v.(type) {
	case nil:
		return 0, nil
	case *big.Int:
		if v.IsInt64() {
			return v.Int64(), nil
		}
	case string:
		return strconv.ParseInt(v, 10, 64)
	case []byte:
		return strconv.ParseInt(string(v), 10, 64)
	case interface{ Float64() float64 }:
		return wholeNumber(v.Float64())
	case fmt.Stringer:
		return strconv.ParseInt(v.String(), 10, 64)
	default:
		number := reflect.ValueOf(v)
		switch {
		case number.CanInt():
			return number.Int(), nil
		case number.CanUint() && number.Uint() <= math.MaxInt64:
			return int64(number.Uint()), nil
		case number.CanFloat():
			return wholeNumber(number.Float())
		}
	}
	return 0, fmt.Errorf("%v (%T), expected a whole number", v, v)
}

func wholeNumber(f float64) (int64, error) {
	if f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		return 0, fmt.Errorf("%v, expected a whole number", f)
	}
	return int64(f), nil
}
