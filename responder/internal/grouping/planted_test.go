package grouping

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// fleet is a plausible lineage: datasets in three stages, models that are trained on one to three of the last, each served by pods on
// GPUs that some share, and departments that pay for many.
type fleet struct {
	*Graph
	raw, clean, features, models, gpus, departments []Node
}

func newFleet(r *rand.Rand) *fleet {
	f := &fleet{Graph: &Graph{}}
	in := func(kind Kind, ns, name string, n int) Node {
		return Node{kind, "prod", ns, fmt.Sprintf("%s-%d", name, n)}
	}
	for n := range 20 {
		f.raw = append(f.raw, in(Dataset, "data", "raw", n))
		f.clean = append(f.clean, in(Dataset, "data", "clean", n))
		f.features = append(f.features, in(Dataset, "data", "features", n))
		f.Add(Edge{f.raw[n], f.clean[n], "is upstream of"})
		f.Add(Edge{f.clean[n], f.features[n], "is upstream of"})
		if n%4 == 0 && n > 0 {
			f.Add(Edge{f.raw[n], f.clean[n-1], "is upstream of"})
		}
	}
	for n := range 16 {
		f.gpus = append(f.gpus, Node{GPU, "prod", "", fmt.Sprintf("GPU-%d", n)})
	}
	for n := range 5 {
		f.departments = append(f.departments, Node{Department, "prod", "", fmt.Sprintf("department-%d", n)})
	}
	for n := range 40 {
		m := in(Model, "serving", "model", n)
		f.models = append(f.models, m)
		for range 1 + r.IntN(2) {
			f.Add(Edge{f.features[r.IntN(len(f.features))], m, "feeds"})
		}
		pod := in(Server, "serving", "pod", n)
		f.Add(Edge{f.gpus[n%len(f.gpus)], pod, "runs"})
		f.Add(Edge{pod, m, "serves"})
		f.Add(Edge{m, f.departments[n%len(f.departments)], "is paid by"})
	}
	return f
}

// day has the alerts of planted incidents, with the incident of each.
type day struct {
	*fleet
	r       *rand.Rand
	start   time.Time
	alerts  []*Alert
	of      map[*Alert]int // the planted incident, -1 for a decoy
	changes []Change
	segment []Segment
	cause   []string // the title of each planted incident's cause
}

func (d *day) fire(incident int, n Node, at time.Time, name, layer string, more ...string) *Alert {
	labels := map[string]string{"alertname": name, "layer": layer, "cluster": n.Cluster, "namespace": n.Namespace}
	switch n.Kind {
	case Dataset:
		labels["dataset"] = n.Name
	case Model:
		labels["model"] = n.Name
	case GPU:
		labels["uuid"] = n.Name
	case Department:
		labels["department"] = n.Name
	}
	for i := 0; i < len(more); i += 2 {
		labels[more[i]] = more[i+1]
	}
	a := &Alert{ID: fmt.Sprintf("%04d", len(d.alerts)), Labels: labels, StartsAt: at}
	d.alerts, d.of[a] = append(d.alerts, a), incident
	return a
}

func (d *day) after(at time.Time, most time.Duration) time.Time {
	return at.Add(time.Duration(d.r.Int64N(int64(most)))).Truncate(time.Second)
}

// plant makes one incident at a root with its consequences, and returns false if the root is too near another's.
func (d *day) plant(kind int, taken map[Node]bool) bool {
	id, at := len(d.cause), d.after(d.start, 4*time.Hour)
	pick := func(from []Node) (Node, bool) {
		n := from[d.r.IntN(len(from))]
		near := []Node{n}
		for o := range d.Downstream(n) {
			if o.Kind != Department && o.Kind != Model { // Two incidents may have consequences for one model.
				near = append(near, o)
			}
		}
		if slices.ContainsFunc(near, func(o Node) bool { return taken[o] }) {
			return n, false
		}
		for _, o := range near {
			taken[o] = true
		}
		return n, true
	}
	columns := func(root Node, name, layer, label string, most int, from time.Time) {
		for c := range 1 + d.r.IntN(most) {
			d.fire(id, root, d.after(from, 10*time.Minute), name, layer, label, fmt.Sprint("c", c))
		}
	}
	switch kind % 4 {
	case 0: // A schema change of a raw table, and what it does downstream.
		root, ok := pick(d.raw)
		if !ok {
			return false
		}
		text := "column amount of " + root.Name + " changed its type"
		d.changes, d.cause = append(d.changes, Change{Kind: Schema, Node: root, At: at, Text: text}), append(d.cause, text)
		d.fire(id, root, at.Add(2*time.Minute), "MLDatasetSchemaChanged", "data")
		d.consequences(root, at.Add(3*time.Minute), columns)
	case 1: // An unmapped segment; models drift hours later.
		root, ok := pick(d.clean)
		if !ok {
			return false
		}
		cause := fmt.Sprintf("payment_provider = new%d", id)
		d.segment = append(d.segment, Segment{Node: root, Column: "c0", Signal: "drift_psi", Cause: cause, Explained: 0.6 + 0.4*d.r.Float64(), Rows: 0.05, FirstSeen: at})
		d.cause = append(d.cause, cause+" in "+root.String())
		d.fire(id, root, at, "MLDatasetDrift", "data", "column", "c0")
		d.consequences(root, at.Add(3*time.Hour), columns)
	case 2: // A release that saturates its GPU.
		root, ok := pick(d.gpus)
		if !ok {
			return false
		}
		var model Node
		for n := range d.Downstream(root) {
			if n.Kind == Model && (model.Kind == 0 || n.Name < model.Name) {
				model = n
			}
		}
		text := fmt.Sprintf("version %d of %s began to serve", 2+id, model.Name)
		d.changes, d.cause = append(d.changes, Change{Kind: Deployed, Node: model, At: at, Text: text}), append(d.cause, text)
		d.fire(id, root, at.Add(12*time.Minute), "MLGPUSaturated", "infrastructure")
		for n := range d.Downstream(root) {
			if n.Kind == Model {
				d.fire(id, n, d.after(at.Add(5*time.Minute), 10*time.Minute), "MLInferenceLatencyAnomaly", "model")
				d.fire(id, n, d.after(at.Add(5*time.Minute), 10*time.Minute), "MLInferenceQueueDominates", "model")
			}
		}
	default: // A GPU that breaks, with nothing that changed.
		root, ok := pick(d.gpus)
		if !ok {
			return false
		}
		d.cause = append(d.cause, "Trouble with "+root.String())
		d.fire(id, root, at, "MLGPUXidError", "infrastructure", "xid", "79")
		for n := range d.Downstream(root) {
			if n.Kind == Model {
				d.fire(id, n, d.after(at.Add(time.Minute), 5*time.Minute), "MLInferenceFailurePathHigh", "model", "outcome", "error")
			}
		}
	}
	return true
}

func (d *day) consequences(root Node, from time.Time, columns func(Node, string, string, string, int, time.Time)) {
	nodes := []Node{}
	for n := range d.Downstream(root) {
		nodes = append(nodes, n)
	}
	slices.SortFunc(nodes, Node.compare)
	for _, n := range nodes {
		switch n.Kind {
		case Dataset:
			columns(n, "MLDatasetNullRatioHigh", "data", "column", 6, from)
		case Model:
			columns(n, "MLModelDrift", "model", "field", 4, from)
		}
	}
}

// newDay plants incidents and decoys: alerts of objects that are alone, changes of objects that nothing happens to, releases of models
// that only suffer, and changes long before, all among the incidents in time.
func newDay(seed uint64, incidents, alerts int) *day {
	r := rand.New(rand.NewPCG(seed, 0))
	d := &day{fleet: newFleet(r), r: r, start: time.Date(2026, 11, 24, 6, 0, 0, 0, time.UTC), of: map[*Alert]int{}}
	taken := map[Node]bool{}
	for kind := 0; len(d.cause) < incidents && kind < 100*incidents; kind++ {
		d.plant(kind, taken)
	}
	for n := range 30 {
		at := d.after(d.start, 4*time.Hour)
		quiet := d.raw[n%len(d.raw)]
		if !taken[quiet] {
			d.changes = append(d.changes, Change{Kind: Schema, Node: quiet, At: at, Text: "decoy"})
		}
		if !taken[d.gpus[n%len(d.gpus)]] {
			d.changes = append(d.changes, Change{Kind: Deployed, Node: d.models[n], At: at, Text: "decoy"})
		}
		d.changes = append(d.changes, Change{Kind: Deployed, Node: d.models[n], At: at.Add(-30 * time.Hour), Text: "decoy"})
	}
	for n := 0; len(d.alerts) < alerts; n++ {
		alone := Node{Dataset, "prod", "data", fmt.Sprint("sandbox-", n)}
		d.fire(-1, alone, d.after(d.start, 4*time.Hour), "MLDatasetProfileFailing", "data")
	}
	return d
}

// score compares groups with the planted incidents by pairs of alerts: whether they are in one group, and whether they should be.
func (d *day) score(groups []*Group) (right, together, belong int) {
	group := map[*Alert]int{}
	for i, g := range groups {
		for _, m := range g.Members {
			group[m.Alert] = i
			if g.Unrelated {
				group[m.Alert] = -1
			}
		}
	}
	for i, a := range d.alerts {
		for _, b := range d.alerts[:i] {
			t, p := group[a] >= 0 && group[a] == group[b], d.of[a] >= 0 && d.of[a] == d.of[b]
			if t {
				together++
			}
			if p {
				belong++
			}
			if t && p {
				right++
			}
		}
	}
	return right, together, belong
}

// TestPlantedIncidentsAreFound is also `make bench-incidents`.
func TestPlantedIncidentsAreFound(t *testing.T) {
	t.Parallel()
	days, right, together, belong, planted, named, wrong := 12, 0, 0, 0, 0, 0, 0
	if n, err := strconv.Atoi(os.Getenv("SIGHTGLASS_INCIDENT_DAYS")); err == nil {
		days = n
	}
	for seed := range days {
		d := newDay(uint64(seed), 3+seed%6, 300)
		groups, lineage := Find(d.alerts, d.Graph, DefaultOptions())
		require.LessOrEqual(t, len(groups), len(d.cause)+1, "day %d: a storm of %d alerts", seed, len(d.alerts))
		r, p, b := d.score(groups)
		right, together, belong = right+r, together+p, belong+b
		planted += len(d.cause)
		for _, g := range groups {
			causes := Causes(g, lineage, d.changes, d.segment)
			if len(causes) == 0 || causes[0].Confidence < Claimed {
				continue
			}
			if of := d.of[g.Members[0].Alert]; of >= 0 && causes[0].Title == d.cause[of] {
				named++
			} else {
				wrong++
			}
		}
	}
	precision, recall := float64(right)/float64(together), float64(right)/float64(belong)
	t.Logf("%d days of 300 alerts, %d planted incidents: pairs of alerts put together: precision %.3f, recall %.3f", days, planted, precision, recall)
	t.Logf("probable cause: right for %.1f %% of the incidents, wrong for %.1f %%", 100*float64(named)/float64(planted), 100*float64(wrong)/float64(planted))
	require.Greater(t, precision, 0.9, "two incidents may share a model")
	require.Greater(t, recall, 0.95)
	require.Greater(t, float64(named)/float64(planted), 0.95)
	require.Less(t, float64(wrong)/float64(planted), 0.02)
}

func TestStormInSeveralDeliveriesBecomesFewIncidents(t *testing.T) {
	t.Parallel()
	for seed := range 3 {
		d := newDay(uint64(1000+seed), 5, 300)
		slices.SortFunc(d.alerts, func(a, b *Alert) int { return a.StartsAt.Compare(b.StartsAt) })
		open := map[string]bool{}
		for n := 7; ; n = min(n+7, len(d.alerts)) {
			groups, _ := Find(d.alerts[:n], d.Graph, DefaultOptions())
			clear(open)
			for _, g := range groups {
				require.False(t, open[g.ID], "two incidents with one ID")
				open[g.ID] = true
				for _, m := range g.Members {
					m.Alert.Incident = g.ID
				}
			}
			if n == len(d.alerts) {
				break
			}
		}
		require.LessOrEqual(t, len(open), len(d.cause)+1)
	}
}

// TestGroupingTheLargestStormIsFast keeps what runs every few seconds far from taking them.
func TestGroupingTheLargestStormIsFast(t *testing.T) {
	t.Parallel()
	g := &Graph{}
	r := rand.New(rand.NewPCG(1, 2))
	name := func(kind Kind, n int) Node { return Node{Kind: kind, Name: fmt.Sprint(kind, n)} }
	for g.Edges() < MaxEdges-2000 {
		d := r.IntN(2000)
		g.Add(Edge{name(Dataset, d), name(Dataset, 2000+r.IntN(2000)), "feeds"})
		g.Add(Edge{name(Dataset, 2000+d), name(Model, r.IntN(2000)), "feeds"})
	}
	var alerts []*Alert
	for n := range 500 { // Two models each have a quiet table upstream, all at once.
		alerts = append(alerts, &Alert{ID: fmt.Sprint(n), StartsAt: noon, Labels: map[string]string{"alertname": "MLModelDrift", "model": name(Model, n).Name}})
	}
	begun := time.Now()
	groups, full := Find(alerts, g, DefaultOptions())
	for _, group := range groups {
		Causes(group, full, nil, nil)
	}
	took := time.Since(begun)
	t.Logf("%d groups in %s", len(groups), took)
	require.Less(t, took, time.Minute, "it takes a second; one that looks at all of them for each takes minutes")
}
