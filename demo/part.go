package demo

import (
	"context"
	"io"
	"time"

	"github.com/sightglass-ml/sightglass/demo/stack"
)

// part is one kind of watched object: the shop's tables, GPUs, models or bills. Its methods are called in this order.
type part interface {
	// summary describes the part in a few words.
	summary() string
	// prepare writes the data that exists before any process starts.
	prepare(ctx context.Context, now time.Time) error
	// history writes past results of recording rules in the OpenMetrics format, without the final # EOF.
	history(ctx context.Context, out io.Writer, now time.Time) error
	// start starts the exporter of the part.
	start(ctx context.Context) (watched, error)
	// conditions are queries that are true once every object of the part is monitored.
	conditions() []condition
	// incidents returns the incidents to inject.
	incidents() []incident
	// run simulates the part until ctx ends.
	run(ctx context.Context) error
}

// watched is a running exporter with its job and, if it differs from the address, its instance.
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

// condition is a query that has the value want once an object is monitored.
type condition struct {
	what, query string
	want        int
}
