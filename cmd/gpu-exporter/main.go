// Command gpu-exporter publishes what NVIDIA's driver knows of the GPUs of a
// machine, and who holds them.
package main

import (
	"os"

	"github.com/sightglass-ml/sightglass/exporters/gpu"
	"github.com/sightglass-ml/sightglass/internal/exporter"
)

func main() {
	os.Exit(exporter.Run(gpu.Spec(), os.Args[1:], os.Stdout, os.Stderr))
}
