package scenario

import (
	"math"
	"slices"
	"strings"

	"github.com/sightglass-ml/sightglass/internal/config"
)

// Column is a column of a simulated table, or a feature of a simulated model. It has exactly one distribution.
type Column struct {
	config.Pos `yaml:"-"`

	Name string `yaml:"name"`
	// Type is the DuckDB type; by default that of the distribution.
	Type string `yaml:"type,omitempty"`

	Lognormal   *Lognormal   `yaml:"lognormal,omitempty"`
	Normal      *Normal      `yaml:"normal,omitempty"`
	Uniform     *Uniform     `yaml:"uniform,omitempty"`
	Exponential *Exponential `yaml:"exponential,omitempty"`
	Categories  *Categories  `yaml:"categories,omitempty"`
	// Age is a time before the record's.
	Age *Exponential `yaml:"age_seconds,omitempty"`
	// Sequence is an increasing key.
	Sequence bool `yaml:"sequence,omitempty"`

	// Nulls is the share of nulls, Zeros the share of zeros.
	Nulls float64 `yaml:"nulls"`
	Zeros float64 `yaml:"zeros"`
	// Daily, Weekly and Wander are by how much the distribution changes within a day, on weekends and from day to day. They are on a
	// logarithmic scale: of the size of a number, or of the weight of each category. Each category has its own peak hour.
	Daily  float64 `yaml:"daily"`
	Weekly float64 `yaml:"weekly"`
	Wander float64 `yaml:"wander"`
}

// Lognormal is a positive number with a heavy tail.
type Lognormal struct {
	Median float64 `yaml:"median"`
	Sigma  float64 `yaml:"sigma"`
}

// Normal is a normally distributed number.
type Normal struct {
	Mean   float64 `yaml:"mean"`
	Stddev float64 `yaml:"stddev"`
}

// Uniform is a number in a range.
type Uniform struct {
	From float64 `yaml:"from"`
	To   float64 `yaml:"to"`
}

// Exponential is a number from 0 with a mean.
type Exponential struct {
	Mean float64 `yaml:"mean"`
}

// Categories are texts with different frequencies.
type Categories struct {
	// Values are the texts; Count generates this number of texts instead.
	Values []string `yaml:"values,omitempty"`
	Count  int      `yaml:"count,omitempty"`
	// Weights are the shares of the values. With Zipf instead, the k-th value has the weight 1/k^zipf.
	Weights []float64 `yaml:"weights,omitempty"`
	Zipf    float64   `yaml:"zipf"`
}

// SetDefaults implements config.Defaulter.
func (c *Categories) SetDefaults() { c.Zipf = 1 }

// Validate implements config.Validator.
func (c *Categories) Validate(at config.At) {
	if (len(c.Values) > 0) == (c.Count > 0) {
		at.Errorf("values", "want either values or count")
	}
	if c.Count < 0 || c.Count > 100_000 {
		at.Errorf("count", "%d; want 1 to 100000", c.Count)
	}
	if len(c.Weights) > 0 && len(c.Weights) != len(c.Values) {
		at.Errorf("weights", "%d weights of %d values; want one for each", len(c.Weights), len(c.Values))
	}
	for i, w := range c.Weights {
		if !(w > 0) || math.IsInf(w, 1) {
			at.Errorf(item("weights", i), "%v; want a number above 0", w)
		}
	}
	for i, v := range c.Values {
		if slices.Contains(c.Values[:i], v) {
			at.Errorf(item("values", i), "%q appears twice; want different values", v)
		}
	}
	if !(c.Zipf >= 0 && c.Zipf <= 5) {
		at.Errorf("zipf", "%v; want an exponent from 0 to 5", c.Zipf)
	}
}

// Validate implements config.Validator.
func (c *Column) Validate(at config.At) {
	named(at, c.Name, "column")
	n := 0
	for _, has := range []bool{c.Lognormal != nil, c.Normal != nil, c.Uniform != nil, c.Exponential != nil, c.Categories != nil, c.Age != nil, c.Sequence} {
		if has {
			n++
		}
	}
	if n != 1 {
		at.Errorf("", "%d distributions; want one of lognormal, normal, uniform, exponential, categories, age_seconds and sequence", n)
	}
	share(at, "nulls", c.Nulls)
	share(at, "zeros", c.Zeros)
	if c.Zeros > 0 && c.Categories != nil {
		at.Errorf("zeros", "%v of a column of categories; want it with a number", c.Zeros)
	}
	for key, v := range map[string]float64{"daily": c.Daily, "weekly": c.Weekly, "wander": c.Wander} {
		if !(v >= 0 && v <= 3) {
			at.Errorf(key, "%v; want a number from 0 to 3", v)
		}
	}
	if l := c.Lognormal; l != nil && !(l.Median > 0 && l.Sigma >= 0 && l.Sigma <= 5) {
		at.Errorf("lognormal", "median %v and sigma %v; want a median above 0 and a sigma from 0 to 5", l.Median, l.Sigma)
	}
	for key, e := range map[string]*Exponential{"exponential": c.Exponential, "age_seconds": c.Age} {
		if e != nil && !(e.Mean > 0) {
			at.Errorf(key, "mean %v; want a number above 0", e.Mean)
		}
	}
	if u := c.Uniform; u != nil && !(u.To > u.From) {
		at.Errorf("uniform", "from %v to %v; want an interval", u.From, u.To)
	}
	if s := c.Normal; s != nil && !(s.Stddev >= 0) {
		at.Errorf("normal", "stddev %v; want a number from 0", s.Stddev)
	}
	switch want := c.SQLType(); strings.ToUpper(want) {
	case "DOUBLE", "BIGINT", "VARCHAR", "TIMESTAMP", "BOOLEAN":
		if c.IsText() != (strings.EqualFold(want, "VARCHAR") || strings.EqualFold(want, "BOOLEAN")) || (c.Age != nil) != strings.EqualFold(want, "TIMESTAMP") {
			at.Errorf("type", "%q does not hold the distribution's values", want)
		}
	default:
		at.Errorf("type", "%q; want double, bigint, varchar, boolean or timestamp", want)
	}
}

// IsText reports whether the values are texts.
func (c *Column) IsText() bool { return c.Categories != nil }

// SQLType returns the DuckDB type.
func (c *Column) SQLType() string {
	switch {
	case c.Type != "":
		return strings.ToUpper(c.Type)
	case c.Categories != nil:
		return "VARCHAR"
	case c.Age != nil:
		return "TIMESTAMP"
	case c.Sequence:
		return "BIGINT"
	}
	return "DOUBLE"
}

// class returns what values the column has.
func (c *Column) class() Values {
	switch {
	case c.Age != nil:
		return Timestamps
	case c.SQLType() == "BOOLEAN":
		return Booleans
	case c.IsText():
		return Texts
	}
	return Numbers
}
