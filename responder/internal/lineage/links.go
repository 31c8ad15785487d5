package lineage

import (
	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/responder/internal/grouping"
)

// Link is a relation of the lineage that no series has.
type Link struct {
	// Dataset, Model or Host is the start of the link; exactly one is set.
	Dataset string `yaml:"dataset,omitempty"`
	Model   string `yaml:"model,omitempty"`
	Host    string `yaml:"host,omitempty"`
	// Cluster and Namespace apply to both ends. Without them only names are compared.
	Cluster   string `yaml:"cluster,omitempty"`
	Namespace string `yaml:"namespace,omitempty"`
	// Feeds are models that the dataset feeds. UpstreamOf are datasets that are made from it.
	Feeds      []string `yaml:"feeds,omitempty"`
	UpstreamOf []string `yaml:"upstream_of,omitempty"`
	// Serves are models that the host serves.
	Serves []string `yaml:"serves,omitempty"`
	// Department pays for the model.
	Department string `yaml:"department,omitempty"`
}

// Validate implements config.Validator.
func (l *Link) Validate(at config.At) {
	begins := 0
	for _, name := range []string{l.Dataset, l.Model, l.Host} {
		if name != "" {
			begins++
		}
	}
	if begins != 1 {
		at.Errorf("", "begins at %d objects; want one of dataset, model and host", begins)
		return
	}
	for _, end := range []struct {
		key, of string
		given   bool
		begin   string
	}{
		{"feeds", "dataset", len(l.Feeds) > 0, l.Dataset},
		{"upstream_of", "dataset", len(l.UpstreamOf) > 0, l.Dataset},
		{"serves", "host", len(l.Serves) > 0, l.Host},
		{"department", "model", l.Department != "", l.Model},
	} {
		if end.given && end.begin == "" {
			at.Errorf(end.key, "stands without %s, of which it says where it leads", end.of)
		}
	}
	if len(l.Feeds)+len(l.UpstreamOf)+len(l.Serves) == 0 && l.Department == "" {
		at.Errorf("", "leads nowhere; want feeds or upstream_of of a dataset, serves of a host, or department of a model")
	}
}

func (l *Link) add(g *grouping.Graph) {
	node := func(kind grouping.Kind, name string) grouping.Node {
		return grouping.Node{Kind: kind, Cluster: l.Cluster, Namespace: l.Namespace, Name: name}
	}
	add := func(from, to grouping.Node, why string) { g.Add(grouping.Edge{From: from, To: to, Why: why}) }
	for _, m := range l.Feeds {
		add(node(grouping.Dataset, l.Dataset), node(grouping.Model, m), "feeds")
	}
	for _, d := range l.UpstreamOf {
		add(node(grouping.Dataset, l.Dataset), node(grouping.Dataset, d), "is upstream of")
	}
	host := node(grouping.Host, grouping.HostName(l.Host))
	host.Namespace = ""
	for _, m := range l.Serves {
		add(host, node(grouping.Model, m), "serves")
	}
	department := node(grouping.Department, l.Department)
	department.Namespace = ""
	add(node(grouping.Model, l.Model), department, "is paid by")
}

// Of returns the graph that has only the links.
func Of(links []Link) *grouping.Graph {
	g := &grouping.Graph{}
	for _, l := range links {
		l.add(g)
	}
	return g
}
