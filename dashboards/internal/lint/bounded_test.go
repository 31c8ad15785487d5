package lint

import "testing"

func TestAChartHasAtMostTenLines(t *testing.T) {
	const one, all = `widgets_size{` + scope + `, model="$detail"}`, `widgets_size{` + scope + `, model=~"$model"}`
	const counter = `widgets_total{` + scope + `}`
	refused := []string{"sightglass-bounded"}
	draws := func(exprs ...string) func(parts) {
		return func(p parts) {
			var targets []any
			for i, expr := range exprs {
				targets = append(targets, object{"refId": string(rune('a' + i)), "expr": expr, "datasource": p.datasourceRef()})
			}
			p.series["targets"] = targets
		}
	}
	faults{
		"every selected object is refused":                                          {draws(all), refused},
		"one object is refused, since it can be in ten namespaces":                  {draws(one), refused},
		"a line for each object is refused":                                         {draws("max by (model) (" + all + ")"), refused},
		"a sum without some labels is refused":                                      {draws("sum without (instance) (" + all + ")"), refused},
		"the ten largest at each step are refused, since each step can have others": {draws("topk(10, " + all + ")"), refused},
		"the ten smallest at each step are refused":                                 {draws("bottomk(10, " + all + ")"), refused},
		"a choice that reads one series at the end and another at each step is refused": {
			draws(all + " and topk(10, max_over_time(" + all + "[$__range] @ end()) - " + all + ")"), refused,
		},
		"the ten largest of each group are refused":    {draws(all + " and topk by (namespace) (10, max_over_time(" + all + "[$__range] @ end()))"), refused},
		"ten chosen once for the whole range are fine": {draws(all + " and topk(10, max_over_time(" + all + "[$__range] @ end()))"), nil},
		"ten of a counter are fine": {
			draws("sum by (model) (rate(" + counter + "[$__rate_interval])) and topk(10, sum by (model) (increase(" + counter + "[$__range] @ end())))"), nil,
		},
		"eleven are refused":                      {draws(all + " and topk(11, max_over_time(" + all + "[$__range] @ end()))"), refused},
		"the sum of all is one line":              {draws("sum(" + all + ")"), nil},
		"chosen lines in another unit are fine":   {draws("1000 * (" + all + " and bottomk(5, min_over_time(" + all + "[$__range] @ end())))"), nil},
		"what is left beyond the chosen is a sum": {draws("sum(" + all + " unless topk(7, max_over_time(" + all + "[$__range] @ end())))"), nil},
		"two queries of ten are refused": {
			draws(all+" and topk(10, max_over_time("+all+"[$__range] @ end()))", one+" and topk(10, max_over_time("+one+"[$__range] @ end()))"), refused,
		},
		"two queries of five are fine": {
			draws(all+" and topk(5, max_over_time("+all+"[$__range] @ end()))", one+" and topk(5, max_over_time("+one+"[$__range] @ end()))"), nil,
		},
		"two choices joined by or are both counted": {
			draws("topk(6, max_over_time(" + all + "[$__range] @ end())) or topk(6, max_over_time(" + one + "[$__range] @ end()))"), refused,
		},
		"a state timeline without pages is refused": {
			func(p parts) {
				p.series["type"] = "state-timeline"
				p.defaults()["noValue"] = "No data. Needs widgets."
			},
			[]string{"sightglass-bands"},
		},
		"a state timeline of twelve bands a page is fine": {
			func(p parts) {
				p.series["type"] = "state-timeline"
				p.defaults()["noValue"] = "No data. Needs widgets."
				p.series["options"] = object{"perPage": 12}
			}, nil,
		},
	}.check(t)
}
