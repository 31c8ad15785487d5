// Command sightglass-data has the commands of the operator's tool that read tables, bills and histories. The command sightglass starts it.
package main

import (
	"io"
	"os"

	"github.com/sightglass-ml/sightglass/internal/tool"
)

type commands = tool.Commands

// all declares the commands, each in its own file.
var all = []tool.Add{baselineCommand, checkCommand, demoCommand, importCommand, replayCommand, reportCommand}

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int { return tool.Run(args, stdout, stderr, all...) }
