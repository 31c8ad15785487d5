// Command responder starts the actions that alerts name, keeps the queue of answers for human review, and records both in an audit trail.
package main

import (
	"os"

	"github.com/sightglass-ml/sightglass/internal/exporter"
	"github.com/sightglass-ml/sightglass/responder"
)

func main() {
	os.Exit(exporter.Run(responder.Spec(), os.Args[1:], os.Stdout, os.Stderr))
}
