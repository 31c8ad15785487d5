// Command modelquality-exporter receives OpenTelemetry spans and log records about models. It publishes their latency, outcomes,
// distributions and evaluations.
package main

import (
	"os"

	"github.com/sightglass-ml/sightglass/exporters/modelquality"
	"github.com/sightglass-ml/sightglass/internal/exporter"
)

func main() {
	os.Exit(exporter.Run(modelquality.Spec(), os.Args[1:], os.Stdout, os.Stderr))
}
