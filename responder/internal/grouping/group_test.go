package grouping

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// chain is payments → fraud → risk, on a GPU in a host, and a second table and model beside.
func chain() *Graph {
	g := &Graph{}
	node := func(kind Kind, name string) Node { return Node{Kind: kind, Name: name} }
	for _, e := range [][2]Node{
		{node(Dataset, "raw"), node(Dataset, "payments")},
		{node(Dataset, "payments"), node(Model, "fraud")},
		{node(Dataset, "payments"), node(Model, "limits")},
		{node(Dataset, "customers"), node(Model, "fraud")},
		{node(Host, "node-7"), node(GPU, "GPU-1")},
		{node(GPU, "GPU-1"), node(Server, "pod")},
		{node(Server, "pod"), node(Model, "fraud")},
		{node(Model, "fraud"), node(Department, "risk")},
		{node(Model, "limits"), node(Department, "risk")},
		{node(Model, "ranker"), node(Department, "risk")},
	} {
		g.Add(Edge{e[0], e[1], "leads to"})
	}
	return g
}

// parse reads alerts as "NAME object=NAME +MINUTES[..MINUTES]", one a line.
func parse(t *testing.T, text string) (alerts []*Alert) {
	t.Helper()
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		a := &Alert{ID: fmt.Sprint(len(alerts)), Labels: map[string]string{"alertname": f[0]}}
		switch {
		case strings.HasPrefix(f[0], "MLDataset"):
			a.Labels["layer"] = "data"
		case strings.HasPrefix(f[0], "MLCost"):
			a.Labels["layer"] = "business"
		}
		for _, pair := range f[1 : len(f)-1] {
			name, value, _ := strings.Cut(pair, "=")
			a.Labels[name] = value
		}
		from, to, ended := strings.Cut(f[len(f)-1][1:], "..")
		minutes := func(s string) time.Time {
			var n int
			_, err := fmt.Sscan(s, &n)
			require.NoError(t, err, line)
			return noon.Add(time.Duration(n) * time.Minute)
		}
		if a.StartsAt = minutes(from); ended {
			a.EndsAt = minutes(to)
		}
		alerts = append(alerts, a)
	}
	return alerts
}

// describe says groups as "root: alerts by number", in order.
func describe(groups []*Group) (all []string) {
	for _, g := range groups {
		text := g.Root.String()
		if g.Inferred {
			text = "(" + text + ")"
		}
		if g.Unrelated {
			text = "unrelated"
		}
		var ids []string
		for _, m := range g.Members {
			ids = append(ids, m.Alert.ID)
		}
		all = append(all, text+": "+strings.Join(ids, " "))
	}
	slices.Sort(all)
	return all
}

func TestAlertsAreGroupedByLineage(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		alerts string
		want   []string
	}{
		"a consequence days after a cause that still fires": {`
			MLDatasetDrift dataset=payments +0
			MLModelDrift model=fraud +2880`, []string{"dataset payments: 0 1"}},
		"a consequence that is seen before its cause": {`
			MLModelDrift model=fraud +0
			MLDatasetDrift dataset=payments +29`, []string{"dataset payments: 1 0"}},
		"a model that drifted long before its table": {`
			MLModelDrift model=fraud +0
			MLDatasetDrift dataset=payments +31`, []string{"dataset payments: 1", "model fraud: 0"}},
		"a consequence at the end of the window after its cause": {`
			MLDatasetDrift dataset=payments +0..10
			MLModelDrift model=fraud +70`, []string{"dataset payments: 0 1"}},
		"a consequence past the window": {`
			MLDatasetDrift dataset=payments +0..10
			MLModelDrift model=fraud +71`, []string{"dataset payments: 0", "model fraud: 1"}},
		"a chain from a table to money": {`
			MLDatasetSchemaChanged dataset=raw +0
			MLDatasetNullRatioHigh dataset=payments +3
			MLModelDrift model=fraud +5
			MLModelDrift model=limits +6
			MLCostMonthEndOverBudget department=risk +40`, []string{"dataset raw: 0 1 2 3 4"}},
		"two tables of one model: the nearer in time": {`
			MLDatasetDrift dataset=customers +0
			MLDatasetDrift dataset=payments +100
			MLModelDrift model=fraud +103`, []string{"dataset customers: 0", "dataset payments: 1 2"}},
		"hardware explains no drift": {`
			MLGPUXidError uuid=GPU-1 +0
			MLModelDrift model=fraud +1`, []string{"gpu GPU-1: 0", "model fraud: 1"}},
		"data explain no queue": {`
			MLDatasetDrift dataset=payments +0
			MLInferenceQueueDominates model=fraud +1`, []string{"dataset payments: 0", "model fraud: 1"}},
		"hardware explains a queue": {`
			MLGPUXidError uuid=GPU-1 +0
			MLInferenceQueueDominates model=fraud +1`, []string{"gpu GPU-1: 0 1"}},
		"a host explains its GPU": {`
			MLCPUSaturated instance=node-7:9100 +0
			MLGPUThermalThrottling uuid=GPU-1 +1`, []string{"host node-7: 0 1"}},
		"an alert of somebody else's rules may follow from anything": {`
			MLGPUXidError uuid=GPU-1 +0
			CheckoutSlow model=fraud +1`, []string{"gpu GPU-1: 0 1"}},
		"a department joins nothing": {`
			MLModelDrift model=fraud +0
			MLModelDrift model=ranker +1`, []string{"model fraud: 0", "model ranker: 1"}},
		"models that begin together below a quiet table": {`
			MLModelDrift model=fraud +0
			MLModelDrift model=limits +15`, []string{"(dataset payments): 0 1"}},
		"models that begin apart": {`
			MLModelDrift model=fraud +0
			MLModelDrift model=limits +16`, []string{"model fraud: 0", "model limits: 1"}},
		"drift and a queue of one model at one time": {`
			MLInferenceQueueDominates model=fraud +0
			MLModelDrift model=fraud +10`, []string{"model fraud: 0 1"}},
		"an alert's own labels are a relation": {`
			MLDatasetStale dataset=feed +0
			MLDatasetRowDropHigh dataset=table upstream=feed +5
			MLModelTrainedOnUnvalidatedSnapshot model=m dataset=table +6`, []string{"dataset feed: 0 1 2"}},
		"an alert about nothing that is known": {`
			Something +0
			Something +1
			Other +2`, []string{"Other: 2", "Something: 0 1"}},
		"an object that comes back within the window": {`
			MLDatasetDrift dataset=payments +0..10
			MLDatasetDrift dataset=payments +69`, []string{"dataset payments: 0 1"}},
		"an object that comes back later": {`
			MLDatasetDrift dataset=payments +0..10
			MLDatasetDrift dataset=payments +71`, []string{"dataset payments: 0", "dataset payments: 1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			alerts := parse(t, tc.alerts)
			groups, _ := Find(alerts, chain(), DefaultOptions())
			require.Equal(t, tc.want, describe(groups))
			slices.Reverse(alerts)
			again, _ := Find(alerts, chain(), DefaultOptions())
			require.Equal(t, tc.want, describe(again), "the order of the input changes nothing")
			for i := range groups {
				require.Equal(t, groups[i].ID, again[i].ID)
			}
		})
	}
}

func TestCyclesInTheLineageEnd(t *testing.T) {
	t.Parallel()
	g := &Graph{}
	a, b := Node{Kind: Dataset, Name: "a"}, Node{Kind: Dataset, Name: "b"}
	g.Add(Edge{a, b, "feeds"})
	g.Add(Edge{b, a, "feeds"})
	g.Add(Edge{a, a, "feeds"})
	require.Equal(t, 2, g.Edges())
	groups, _ := Find(parse(t, "MLDatasetDrift dataset=a +1\nMLDatasetDrift dataset=b +0"), g, DefaultOptions())
	require.Equal(t, []string{"dataset b: 1 0"}, describe(groups))
}

func TestExternalLabelsDoNotHideAnAlertFromTheLineage(t *testing.T) {
	t.Parallel()
	g := &Graph{}
	g.Add(Edge{Node{Dataset, "", "data", "payments"}, Node{Model, "", "serving", "fraud"}, "feeds"})
	known := Node{Dataset, "", "data", "payments"}
	for node, want := range map[Node]Node{
		{Dataset, "prod", "data", "payments"}:  known,
		{Dataset, "prod", "", "payments"}:      known,
		{Dataset, "prod", "other", "payments"}: {Dataset, "prod", "other", "payments"},
		{Model, "prod", "data", "payments"}:    {Model, "prod", "data", "payments"},
	} {
		require.Equal(t, want, g.Resolve(node), node)
	}
	g.Add(Edge{Node{Dataset, "", "staging", "payments"}, Node{Model, "", "staging", "fraud"}, "feeds"})
	two := Node{Dataset, "prod", "", "payments"}
	require.Equal(t, two, g.Resolve(two), "to pick one of two is to guess")
}

func TestLineageGraphIsBounded(t *testing.T) {
	t.Parallel()
	g := &Graph{}
	for n := range MaxEdges + 10 {
		g.Add(Edge{Node{Kind: Dataset, Name: fmt.Sprint(n)}, Node{Kind: Model, Name: fmt.Sprint(n)}, "feeds"})
	}
	require.Equal(t, MaxEdges, g.Edges())
	require.True(t, g.Truncated)
}

func TestCauses(t *testing.T) {
	t.Parallel()
	at := func(minutes int) time.Time { return noon.Add(time.Duration(minutes) * time.Minute) }
	change := func(kind ChangeKind, of Kind, name string, minutes int) Change {
		return Change{Kind: kind, Node: Node{Kind: of, Name: name}, At: at(minutes), Text: string(kind) + " of " + name}
	}
	exporter := Change{Kind: Configured, Node: Node{Kind: Exporter, Name: "dq"}, At: at(-3), Text: "dq loaded", Kinds: []Kind{Dataset}}
	price := Change{Kind: Priced, Node: Node{Kind: Exporter, Name: "prices"}, At: at(-3), Text: "price", Kinds: []Kind{Department, Model}}
	for name, tc := range map[string]struct {
		alerts   string
		changes  []Change
		segments []Segment
		want     string // "" where nothing may be claimed
	}{
		"one alert alone has no cause":         {alerts: "MLModelDrift model=fraud +0"},
		"a release minutes before":             {"MLInferenceLatencyAnomaly model=fraud +0", []Change{change(Deployed, Model, "fraud", -4)}, nil, "deployment of fraud"},
		"a release that is seen a little late": {"MLInferenceLatencyAnomaly model=fraud +0", []Change{change(Deployed, Model, "fraud", 5)}, nil, "deployment of fraud"},
		"a release after the alert":            {"MLInferenceLatencyAnomaly model=fraud +0", []Change{change(Deployed, Model, "fraud", 6)}, nil, ""},
		"a release of another model":           {"MLInferenceLatencyAnomaly model=fraud +0", []Change{change(Deployed, Model, "ranker", -4)}, nil, ""},
		"a release a day before":               {"MLInferenceLatencyAnomaly model=fraud +0", []Change{change(Deployed, Model, "fraud", -1441)}, nil, ""},
		"a release that saturates its GPU":     {"MLGPUSaturated uuid=GPU-1 +0\nMLInferenceQueueDominates model=fraud +1", []Change{change(Deployed, Model, "fraud", -4)}, nil, "deployment of fraud"},
		"a retraining saturates no GPU":        {"MLGPUSaturated uuid=GPU-1 +0\nMLInferenceQueueDominates model=fraud +1", []Change{change(Retrained, Model, "fraud", -4)}, nil, "Trouble with gpu GPU-1"},
		"a schema change upstream":             {"MLDatasetNullRatioHigh dataset=payments +0", []Change{change(Schema, Dataset, "raw", -4)}, nil, "schema of raw"},
		"a schema change makes no queue":       {"MLInferenceQueueDominates model=fraud +0", []Change{change(Schema, Dataset, "raw", -4)}, nil, ""},
		"a schema change downstream":           {"MLDatasetNullRatioHigh dataset=raw +0", []Change{change(Schema, Dataset, "payments", -4)}, nil, ""},
		"a configuration alone is too little":  {"MLDatasetNullRatioHigh dataset=raw +0", []Change{exporter}, nil, ""},
		"a price, and a cost alert":            {"MLCostMonthEndOverBudget department=risk +0", []Change{price}, nil, "price"},
		"a price, and a drift first":           {"MLModelDrift model=fraud +0\nMLCostMonthEndOverBudget department=risk +5", []Change{price}, nil, "Trouble with model fraud"},
		"a segment": {
			"MLDatasetDrift dataset=payments +0", nil,
			[]Segment{{Node: Node{Kind: Dataset, Name: "payments"}, Column: "c", Cause: "p = new", Explained: 0.97}},
			"p = new in dataset payments",
		},
		"a segment of a consequence explains less": {
			"MLDatasetDrift dataset=payments +0\nMLModelDrift model=fraud +1\nMLModelDrift model=limits +1", nil,
			[]Segment{{Node: Node{Kind: Model, Name: "fraud"}, Column: "c", Cause: "p = new", Explained: 0.7}},
			"Trouble with dataset payments",
		},
		"no single segment": {"MLDatasetDrift dataset=payments +0", nil, []Segment{{Node: Node{Kind: Dataset, Name: "payments"}, Column: "c"}}, ""},
		"a segment of a table that does not alert": {
			"MLModelDrift model=fraud +0", nil,
			[]Segment{{Node: Node{Kind: Dataset, Name: "payments"}, Column: "c", Cause: "p = new", Explained: 1}},
			"",
		},
		"a quiet table above models that begin together": {"MLModelDrift model=fraud +0\nMLModelDrift model=limits +1", nil, nil, "Trouble with dataset payments"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			groups, g := Find(parse(t, tc.alerts), chain(), DefaultOptions())
			require.Len(t, groups, 1)
			causes := Causes(groups[0], g, tc.changes, tc.segments)
			got := ""
			if len(causes) > 0 && causes[0].Confidence >= Claimed {
				got = causes[0].Title
			}
			require.Equal(t, tc.want, got, "%+v", causes)
			for _, c := range causes {
				require.LessOrEqual(t, c.Confidence, mostConfidence)
				require.NotEmpty(t, c.Evidence)
			}
		})
	}
}

func TestManyReleasesDoNotRaiseTheConfidence(t *testing.T) {
	t.Parallel()
	groups, g := Find(parse(t, "MLInferenceLatencyAnomaly model=fraud +0"), chain(), DefaultOptions())
	var changes []Change
	for n := range 20 {
		changes = append(changes, Change{Kind: Deployed, Node: Node{Kind: Model, Name: "fraud"}, At: noon.Add(-time.Duration(n) * time.Minute), Text: fmt.Sprint("version ", n)})
	}
	one, many := Causes(groups[0], g, changes[:1], nil), Causes(groups[0], g, changes, nil)
	require.InDelta(t, one[0].Confidence, many[0].Confidence, 1e-9)
	require.Len(t, many[0].Evidence, mostEvidence)
	require.Equal(t, "version 0", many[0].Title)
}

func TestTeaches(t *testing.T) {
	in := func(kind Kind, cluster, namespace, name string) Node { return Node{kind, cluster, namespace, name} }
	g := &Graph{}
	for _, e := range []Edge{
		{in(Dataset, "", "data", "payments"), in(Model, "", "ml", "fraud"), "feeds"},
		{in(Dataset, "", "staging", "payments"), in(Model, "", "staging", "fraud"), "feeds"},
		{in(Dataset, "", "data", "raw"), in(Dataset, "", "data", "payments"), "is upstream of"},
		{in(Dataset, "", "data", "labels"), in(Run, "", "ml", "7"), "was learned by"},
		{in(Run, "", "ml", "7"), in(Version, "", "ml", "fraud version 3"), "trained"},
		{in(Version, "", "ml", "fraud version 3"), in(Model, "", "ml", "fraud"), "is served as"},
		{in(Dataset, "", "", "orders"), in(Model, "", "", "limits"), "feeds"},
	} {
		g.Add(e)
	}
	fraud := in(Model, "prod", "ml", "fraud") // Alerts have the external label cluster.
	for sentence, tc := range map[string]struct {
		dataset, model Node
		want           bool
	}{
		"a dataset that feeds the model":                 {in(Dataset, "prod", "data", "payments"), fraud, true},
		"a dataset that its version was trained on":      {in(Dataset, "prod", "data", "labels"), fraud, true},
		"not the dataset of the same name in staging":    {in(Dataset, "prod", "staging", "payments"), fraud, false},
		"not that in another cluster":                    {in(Dataset, "test", "data", "payments"), fraud, false},
		"not a dataset that another one is made from":    {in(Dataset, "prod", "data", "raw"), fraud, false},
		"not an unknown one":                             {in(Dataset, "prod", "data", "other"), fraud, false},
		"not an unknown model":                           {in(Dataset, "prod", "data", "payments"), in(Model, "prod", "ml", "other"), false},
		"by a link of names, in one namespace":           {in(Dataset, "", "ml", "orders"), in(Model, "", "ml", "limits"), true},
		"by a link of names, if a namespace is unknown":  {in(Dataset, "", "", "orders"), in(Model, "", "ml", "limits"), true},
		"not by a link of names, from another namespace": {in(Dataset, "", "staging", "orders"), in(Model, "", "ml", "limits"), false},
		"not by a link of names, in the wrong direction": {in(Dataset, "", "", "limits"), in(Model, "", "", "orders"), false},
	} {
		t.Run(sentence, func(t *testing.T) { require.Equal(t, tc.want, g.Teaches(tc.dataset, tc.model)) })
	}
	require.False(t, (&Graph{}).Teaches(in(Dataset, "", "", "orders"), in(Model, "", "", "limits")))
}
