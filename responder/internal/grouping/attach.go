package grouping

import (
	"strings"
	"time"
)

// Alert is one firing of an alert.
type Alert struct {
	ID       string
	Labels   map[string]string
	StartsAt time.Time
	EndsAt   time.Time // zero while it fires
	// Incident is the one it was put into before, "" for none.
	Incident string
	// Pinned says that somebody looks after that incident, so that it is not folded into another.
	Pinned bool
}

// object returns what the alert is about, and the lineage that its own labels tell.
func (a *Alert) object() (Node, []Edge) {
	l := a.Labels
	in := func(kind Kind, name string) Node { return Node{kind, l["cluster"], l["namespace"], name} }
	gpu := in(GPU, GPUName(l["uuid"], l["instance"], l["gpu"]))
	gpu.Namespace = "" // That of a pod that holds it, if any.
	host := Node{Host, l["cluster"], "", HostName(l["instance"])}
	dataset, model, department := in(Dataset, l["dataset"]), in(Model, l["model"]), in(Department, l["department"])
	department.Namespace = ""

	var edges []Edge
	add := func(from, to Node, why string) {
		if from.Name != "" && to.Name != "" {
			edges = append(edges, Edge{from, to, why})
		}
	}
	add(in(Dataset, l["upstream"]), dataset, "is upstream of")
	add(dataset, model, "feeds")
	if l["version"] != "" && model.Name != "" {
		add(in(Version, VersionName(l["model"], l["version"])), model, "is served by")
	}

	order := []Node{gpu, model, dataset, department, host}
	switch l["layer"] {
	case "data":
		order = []Node{dataset, model, gpu, department, host}
	case "business":
		order = []Node{model, department, dataset, gpu, host}
	case "infrastructure":
		order = []Node{gpu, host, model, dataset, department}
	}
	for _, n := range order {
		if n.Name != "" {
			return n, edges
		}
	}
	return in(Other, strings.TrimSpace(l["alertname"]+" "+l["job"])), edges
}

// GPUName names a GPU by its UUID, or else by its place; "" if neither is known.
func GPUName(uuid, instance, gpu string) string {
	switch {
	case uuid != "":
		return uuid
	case gpu != "":
		return gpu + " of " + HostName(instance)
	}
	return ""
}

// HostName is an instance without its port.
func HostName(instance string) string {
	if host, port, found := strings.Cut(instance, ":"); found && !strings.Contains(port, ":") {
		return host
	}
	return instance // A bare name, or an IPv6 address.
}

// VersionName names a version of a model.
func VersionName(model, version string) string { return model + " version " + version }

// class is what kind of trouble an alert reports, as far as the names of our own alerts say.
type class int

const (
	anything class = iota
	quality        // what a model was given or learned
	serving        // how requests are answered
)

func (a *Alert) class() class {
	switch name := a.Labels["alertname"]; {
	case strings.HasPrefix(name, "MLModel"), strings.HasPrefix(name, "MLDataset"):
		return quality
	case strings.HasPrefix(name, "MLInference"):
		return serving
	}
	return anything
}

// follows reports whether trouble of a class can be a consequence of trouble with a kind of object: hardware makes no drift, and data
// make no queue.
func (c class) follows(k Kind) bool {
	switch c {
	case quality:
		return k != Server && k != GPU && k != Host
	case serving:
		return k != Dataset && k != Snapshot && k != Run
	default:
		return true
	}
}
