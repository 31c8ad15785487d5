// Command responder starts what alerts ask for, keeps the queue of answers that a person has to look at, and records
// both in an audit trail.
package main

import (
	"os"

	"github.com/sightglass-ml/sightglass/internal/exporter"
	"github.com/sightglass-ml/sightglass/responder"
)

func main() {
	os.Exit(exporter.Run(responder.Spec(), os.Args[1:], os.Stdout, os.Stderr))
}
