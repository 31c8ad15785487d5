package demo

import (
	"context"
	"io"
	"time"

	"github.com/sightglass-ml/sightglass/internal/stack"
)

// part is one of the things that are watched: the shop's tables, its GPUs, its model, its bills. Its methods are called
// in the order in which they stand here.
type part interface {
	// sketch says in a few words what there is.
	sketch() string
	// prepare writes what is there before anything starts.
	prepare(ctx context.Context, now time.Time) error
	// history writes what the rules recorded in the past, in the OpenMetrics format without its end.
	history(ctx context.Context, out io.Writer, now time.Time) error
	// start starts what exports it.
	start(ctx context.Context) (watched, error)
	// conditions tell when all of it is watched.
	conditions() []condition
	// incidents are what is to go wrong.
	incidents() []incident
	// run is its life, until ctx ends.
	run(ctx context.Context) error
}

// watched is a running exporter and how it is scraped: under which job and, if not its address, as which instance.
type watched struct {
	stack.Server
	job, instance string
}

func (w watched) target() stack.ScrapeTarget {
	labels := map[string]string{"cluster": cluster, "namespace": namespace}
	if w.instance != "" {
		labels["instance"] = w.instance
	}
	return stack.ScrapeTarget{Job: w.job, Addresses: []string{w.Address}, Labels: labels}
}

// condition is a query whose value tells that something is watched.
type condition struct {
	what, query string
	want        int
}
