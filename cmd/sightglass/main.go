// Command sightglass is the operator's tool. Commands that read data are those of sightglass-data, which it starts.
package main

import (
	"fmt"
	"io"
	"os"

	"github.com/sightglass-ml/sightglass/internal/tool"
)

type commands = tool.Commands

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	if command, ok := tool.ReadsData(args); ok {
		_, _ = fmt.Fprintf(stderr, "%s %s: %v\n", tool.Name, command, tool.Start(args))
		return 1
	}
	return tool.Run(args, stdout, stderr, auditCommand, bundleCommand, explainCommand, tool.HandOver)
}
