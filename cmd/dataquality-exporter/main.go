// Command dataquality-exporter publishes profiles of tables: volume, nulls, freshness, schema and the distribution of each column.
package main

import (
	"os"

	"github.com/sightglass-ml/sightglass/exporters/dataquality"
	"github.com/sightglass-ml/sightglass/internal/exporter"
)

func main() {
	os.Exit(exporter.Run(dataquality.Spec(), os.Args[1:], os.Stdout, os.Stderr))
}
