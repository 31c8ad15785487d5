// Command gpu-exporter publishes the state of a machine's NVIDIA GPUs, and their holders.
package main

import (
	"os"

	"github.com/sightglass-ml/sightglass/exporters/gpu"
	"github.com/sightglass-ml/sightglass/internal/exporter"
)

func main() {
	os.Exit(exporter.Run(gpu.Spec(), os.Args[1:], os.Stdout, os.Stderr))
}
