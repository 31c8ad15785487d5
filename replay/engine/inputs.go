package engine

import (
	"maps"
	"slices"
)

// AlertsWithoutInputs is an alert that cannot fire, because metrics that it depends on do not exist.
type AlertsWithoutInputs struct {
	Alert string `json:"alert"`
	// Absent are the missing metrics, also those behind recording rules, sorted.
	Absent []string `json:"absent"`
}

// Unfed returns the alerts that can have no result if, apart from recorded metrics, only the given ones exist. It sorts them
// by name. An alert with several rules is included only if none of the rules can have a result.
func (r Rules) Unfed(exist []string) ([]AlertsWithoutInputs, error) {
	units, err := compile(r, defaultInterval)
	if err != nil {
		return nil, err
	}
	var all []*rule
	for _, u := range units {
		all = append(all, u.rules...)
	}
	present := make(map[string]bool)
	for _, name := range exist {
		present[name] = true
	}
	recorded := make(map[string][]*rule)
	for _, one := range all {
		if one.record != "" {
			recorded[one.record] = append(recorded[one.record], one)
		}
	}
	// A rule can have a result once its inputs can. Repeat until no rule is added.
	for grown := true; grown; {
		grown = false
		for _, one := range all {
			if one.record != "" && !present[one.record] && !isEmpty(one.expr, func(name string) bool { return present[name] }) {
				present[one.record], grown = true, true
			}
		}
	}
	absent := make(map[string]map[string]bool)
	fed := make(map[string]bool)
	for _, one := range all {
		switch {
		case one.alert == nil:
		case !isEmpty(one.expr, func(name string) bool { return present[name] }):
			fed[one.name] = true
		default:
			if absent[one.name] == nil {
				absent[one.name] = make(map[string]bool)
			}
			missing(one, recorded, present, absent[one.name], make(map[string]bool))
		}
	}
	var out []AlertsWithoutInputs
	for _, name := range slices.Sorted(maps.Keys(absent)) {
		if !fed[name] {
			out = append(out, AlertsWithoutInputs{name, slices.Sorted(maps.Keys(absent[name]))})
		}
	}
	return out, nil
}

// missing collects the absent metrics on which a rule depends, also through recording rules.
func missing(r *rule, recorded map[string][]*rule, present, absent, seen map[string]bool) {
	for _, sel := range r.reads {
		if sel.name == "" || present[sel.name] || seen[sel.name] {
			continue
		}
		seen[sel.name] = true
		if recorded[sel.name] == nil {
			absent[sel.name] = true
		}
		for _, behind := range recorded[sel.name] {
			missing(behind, recorded, present, absent, seen)
		}
	}
}
