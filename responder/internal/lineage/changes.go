package lineage

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/sightglass-ml/sightglass/responder/internal/grouping"
)

// Observed is the set of versions, schema changes and prices at one time. Differences between two times are changes.
type Observed struct {
	Serving map[grouping.Node][]string // versions of a model
	Schema  map[grouping.Node][]string // columns that differ from the expected schema, as text
	Prices  map[string]float64
	At      time.Time
}

func newObserved() Observed {
	return Observed{Serving: map[grouping.Node][]string{}, Schema: map[grouping.Node][]string{}, Prices: map[string]float64{}}
}

// listed is the stored form of Observed: JSON has no composite keys.
type listed struct {
	Serving, Schema []nodeTexts
	Prices          map[string]float64
	At              time.Time
}

type nodeTexts struct {
	Node  grouping.Node
	Texts []string
}

func list(m map[grouping.Node][]string) (all []nodeTexts) {
	for n, texts := range m {
		all = append(all, nodeTexts{n, texts})
	}
	slices.SortFunc(all, func(a, b nodeTexts) int { return strings.Compare(fmt.Sprint(a.Node), fmt.Sprint(b.Node)) })
	return all
}

// MarshalJSON implements json.Marshaler.
func (o Observed) MarshalJSON() ([]byte, error) {
	return json.Marshal(listed{list(o.Serving), list(o.Schema), o.Prices, o.At})
}

// UnmarshalJSON implements json.Unmarshaler.
func (o *Observed) UnmarshalJSON(text []byte) error {
	var l listed
	if err := json.Unmarshal(text, &l); err != nil {
		return err
	}
	*o = newObserved()
	for _, s := range l.Serving {
		o.Serving[s.Node] = s.Texts
	}
	for _, s := range l.Schema {
		o.Schema[s.Node] = s.Texts
	}
	maps.Copy(o.Prices, l.Prices)
	o.At = l.At
	return nil
}

// Since returns the changes since before, and the state to compare with next. Without a before there are no known changes.
// Values that are missing now are kept, since their series may be missing: if they return unchanged, nothing has changed.
func (o Observed) Since(before *Observed) (changes []grouping.Change, next Observed) {
	next = newObserved()
	next.At = o.At
	if before != nil {
		maps.Copy(next.Serving, before.Serving)
		maps.Copy(next.Prices, before.Prices)
	}
	maps.Copy(next.Serving, o.Serving)
	maps.Copy(next.Prices, o.Prices)
	next.Schema = o.Schema
	if before == nil {
		return nil, next
	}
	for n, versions := range o.Serving {
		was, known := before.Serving[n]
		for _, v := range versions {
			if known && !slices.Contains(was, v) {
				changes = append(changes, deployed(n, v, o.At))
			}
		}
	}
	for n, columns := range o.Schema {
		for _, c := range columns {
			if !slices.Contains(before.Schema[n], c) {
				changes = append(changes, grouping.Change{Kind: grouping.Schema, Node: n, At: o.At, Text: c})
			}
		}
	}
	for what, price := range o.Prices {
		if was, known := before.Prices[what]; known && math.Abs(price-was) > 1e-9*math.Abs(was) {
			changes = append(changes, grouping.Change{
				Kind: grouping.Priced, Node: grouping.Node{Kind: grouping.Exporter, Name: "prices"}, At: o.At,
				Text: fmt.Sprintf("The price of %s went from C$ %.4g to C$ %.4g", what, was, price), Kinds: []grouping.Kind{grouping.Department, grouping.Model},
			})
		}
	}
	slices.SortFunc(changes, func(a, b grouping.Change) int { return strings.Compare(a.Text, b.Text) })
	return changes, next
}

func deployed(model grouping.Node, version string, at time.Time) grouping.Change {
	return grouping.Change{Kind: grouping.Deployed, Node: model, At: at, Text: fmt.Sprintf("Version %s of %s began to serve", version, model.Name)}
}

// concerns maps an exporter to the kinds of objects whose numbers it publishes.
var concerns = map[string][]grouping.Kind{
	"dataquality_exporter_build_info":  {grouping.Dataset},
	"modelquality_exporter_build_info": {grouping.Model},
	"gpu_exporter_build_info":          {grouping.GPU, grouping.Host},
	"cost_exporter_build_info":         {grouping.Department},
}

// changes reads the values to compare with the previous reading, and changes whose time is the value of a series.
func (r *reader) changes() {
	r.Observed.At = r.At
	r.each(`group by (cluster, namespace, dataset, column, change, expected, actual) (ml_dataset_schema_change_info)`, func(l labels, _ float64) {
		n := r.Graph.Resolve(in(grouping.Dataset, l, l("dataset")))
		text := fmt.Sprintf("Column %s of %s was %s", l("column"), l("dataset"), strings.ReplaceAll(l("change"), "_", " "))
		if l("change") == "type_changed" {
			text = fmt.Sprintf("Column %s of %s changed its type from %s to %s", l("column"), l("dataset"), l("expected"), l("actual"))
		}
		r.Observed.Schema[n] = append(r.Observed.Schema[n], text)
	})
	r.each(`max by (resource, unit) (ml_cost_price_cad)`, func(l labels, price float64) {
		r.Observed.Prices[l("resource")+" for one "+l("unit")] = price
	})
	since := fmt.Sprintf("> time() - %d", int(reach.Seconds()))
	r.each(`max by (cluster, namespace, model, version) (ml_model_version_first_served_timestamp_seconds) `+since, func(l labels, at float64) {
		r.Changes = append(r.Changes, deployed(r.Graph.Resolve(in(grouping.Model, l, l("model"))), l("version"), seconds(at)))
	})
	kinds := map[[2]string]string{}
	r.each(`group by (__name__, job, instance) ({__name__=~"(dataquality|modelquality|gpu|cost)_exporter_build_info"})`, func(l labels, _ float64) {
		kinds[[2]string{l("job"), l("instance")}] = l("__name__")
	})
	r.each(`max by (cluster, job, instance) (sightglass_config_last_reload_success_timestamp_seconds) `+since, func(l labels, at float64) {
		of, known := concerns[kinds[[2]string{l("job"), l("instance")}]]
		if !known {
			return
		}
		name := or(l("job"), l("instance"))
		r.Changes = append(r.Changes, grouping.Change{
			Kind: grouping.Configured, At: seconds(at), Kinds: of,
			Node: grouping.Node{Kind: grouping.Exporter, Cluster: l("cluster"), Name: name}, Text: "The exporter " + name + " loaded its configuration",
		})
	})
}

func seconds(s float64) time.Time { return time.UnixMilli(int64(s * 1000)).UTC() }

// segments reads the segments that explain changes of datasets and models.
func (r *reader) segments() {
	type key [6]string
	of := func(l labels) key {
		return key{l("dataset") + l("model"), or(l("column"), l("field")), l("signal"), or(l("cause_column"), l("cause_field")), l("cause_value"), l("cluster") + "/" + l("namespace")}
	}
	by := "(cluster, namespace, dataset, model, column, field, signal, cause_column, cause_field, cause_value)"
	at := map[key]int{}
	r.each(`max by `+by+` ({__name__=~"ml_(dataset|model)_cause_info"})`, func(l labels, explained float64) {
		s := grouping.Segment{Column: or(l("column"), l("field")), Signal: l("signal"), Explained: explained, Node: in(grouping.Dataset, l, l("dataset"))}
		if l("dataset") == "" {
			s.Node = in(grouping.Model, l, l("model"))
		}
		s.Cause = cause(or(l("cause_column"), l("cause_field")), l("cause_value"))
		at[of(l)] = len(r.Segments)
		r.Segments = append(r.Segments, s)
	})
	if len(r.Segments) == 0 {
		return // Nothing more is known about this cause.
	}
	r.each(`max by `+by+` ({__name__=~"ml_(dataset|model)_cause_rows_ratio"})`, func(l labels, rows float64) {
		if i, known := at[of(l)]; known {
			r.Segments[i].Rows = rows
		}
	})
	r.each(`min by `+by+` ({__name__=~"ml_(dataset|model)_cause_first_seen_timestamp_seconds"})`, func(l labels, first float64) {
		if i, known := at[of(l)]; known {
			r.Segments[i].FirstSeen = seconds(first)
		}
	})
	r.each(`group by (cluster, namespace, dataset, column, signal, cause_column, cause_value, statement) (ml_dataset_cause_statement_info)`, func(l labels, _ float64) {
		if i, known := at[of(l)]; known {
			r.Segments[i].SQL = l("statement")
		}
	})
}

// cause formats the labels of a cause as text: one column and value, or several separated by commas.
func cause(columns, values string) string {
	if columns == "" {
		return ""
	}
	cs, vs := strings.Split(columns, ", "), strings.Split(values, ", ")
	if len(cs) != len(vs) { // A value contains a comma.
		cs, vs = []string{columns}, []string{values}
	}
	var texts []string
	for i, c := range cs {
		texts = append(texts, c+" = "+vs[i])
	}
	return strings.Join(texts, " and ")
}
