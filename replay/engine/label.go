package engine

import (
	"regexp"

	"github.com/prometheus/common/model"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// labelReplace evaluates label_replace as Prometheus defines it: the regular expression must match the whole value.
func (c columns) labelReplace(e *parser.Call) ([]column, error) {
	var texts [4]string // arguments: the label to set, the replacement, the label to read, and the regular expression
	for i := range texts {
		literal, ok := e.Args[i+1].(*parser.StringLiteral)
		if !ok {
			return nil, errNotColumns
		}
		texts[i] = literal.Val
	}
	to, replacement, from := texts[0], texts[1], texts[2]
	pattern, err := regexp.Compile("^(?s:" + texts[3] + ")$")
	if err != nil || to == model.MetricNameLabel || !model.UTF8Validation.IsValidLabelName(to) {
		return nil, errNotColumns // Prometheus's engine reports the error.
	}
	in, err := c.vector(e.Args[0])
	if err != nil {
		return nil, err
	}
	out := newCollector(len(in))
	b := labels.NewBuilder(labels.EmptyLabels())
	for _, col := range in {
		value := col.metric.Get(from)
		if found := pattern.FindStringSubmatchIndex(value); found != nil {
			b.Reset(col.metric)
			b.Set(to, string(pattern.ExpandString(nil, replacement, value, found)))
			col.metric = b.Labels()
		}
		out.add(col.metric, col.v)
	}
	return out.done()
}
