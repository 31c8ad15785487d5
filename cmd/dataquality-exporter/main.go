// Command dataquality-exporter publishes what Prometheus needs to know of
// tables: volume, nulls, freshness, schema and the distribution of each column.
package main

import (
	"os"

	"github.com/sightglass-ml/sightglass/exporters/dataquality"
	"github.com/sightglass-ml/sightglass/internal/exporter"
)

func main() {
	os.Exit(exporter.Run(exporter.Spec[dataquality.Config]{
		Name:           "dataquality_exporter",
		Description:    "Publishes volume, nulls, freshness, schema and distributions of tables.",
		DefaultAddress: ":10911",
		Load:           dataquality.Load,
		Start:          dataquality.Start,
	}, os.Args[1:], os.Stdout, os.Stderr))
}
