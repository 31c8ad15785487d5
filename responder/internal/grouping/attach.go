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
	// Incident is the incident that it is in already, or "".
	Incident string
	// Pinned means that somebody has acknowledged that incident, so that it is not merged into a collection of unrelated
	// alerts.
	Pinned bool
}

// object returns the object of the alert, and the lineage in its own labels.
func (a *Alert) object() (Node, []Edge) {
	l := a.Labels
	in := func(kind Kind, name string) Node { return Node{kind, l["cluster"], l["namespace"], name} }
	gpu := in(GPU, GPUName(l["uuid"], l["instance"], l["gpu"]))
	gpu.Namespace = "" // It is the namespace of the pod that holds the GPU, if any.
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

// GPUName returns the name of a GPU: its UUID, otherwise its index and host; "" if both are unknown.
func GPUName(uuid, instance, gpu string) string {
	switch {
	case uuid != "":
		return uuid
	case gpu != "":
		return gpu + " of " + HostName(instance)
	}
	return ""
}

// HostName returns an instance without its port.
func HostName(instance string) string {
	if host, port, found := strings.Cut(instance, ":"); found && !strings.Contains(port, ":") {
		return host
	}
	return instance // a host name without port, or an IPv6 address
}

// VersionName returns the name of a version of a model.
func VersionName(model, version string) string { return model + " version " + version }

// class is the kind of problem that an alert reports, derived from the names of Sightglass's own alerts.
type class int

const (
	anything class = iota
	quality        // inputs or training data of a model
	serving        // serving of requests
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

// follows reports whether a problem of this class can be a consequence of one with this kind of object: hardware does not
// cause drift, and data does not cause queues.
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
