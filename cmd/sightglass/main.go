// Command sightglass is the operator's tool. It starts sightglass-data for the commands that read data.
package main

import (
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/sightglass-ml/sightglass/internal/tool"
)

type commands = tool.Commands

// ownCommands declares the commands of this program, each in its own file.
var ownCommands = []tool.Add{auditCommand, bundleCommand, explainCommand}

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	if command, ok := tool.ReadsData(args); ok {
		_, _ = fmt.Fprintf(stderr, "%s %s: %v\n", tool.Name, command, tool.Start(args))
		return 1
	}
	return tool.Run(args, stdout, stderr, append(slices.Clone(ownCommands), tool.HandOver)...)
}
