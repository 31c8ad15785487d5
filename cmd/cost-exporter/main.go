// Command cost-exporter publishes the cost of inference in Canadian dollars: bills, budgets, projected month ends, prices and idle GPUs.
package main

import (
	"os"

	"github.com/sightglass-ml/sightglass/exporters/cost"
	"github.com/sightglass-ml/sightglass/internal/exporter"
)

func main() {
	os.Exit(exporter.Run(cost.Spec(), os.Args[1:], os.Stdout, os.Stderr))
}
