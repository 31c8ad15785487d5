package tool

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/alecthomas/kingpin/v2"
)

// DataProgram is the program with the commands that read data.
const DataProgram = "sightglass-data"

// dataCommands are the commands of DataProgram with their help.
var dataCommands = map[string]string{
	"baseline": "Build, show, freeze, accept or reset the baselines of the data-quality exporter's datasets or of the model-quality exporter's models.",
	"check":    "Check a configuration file, as the program's own --config.check does.",
	"demo":     "Watch the real stack detect what breaks in the sample data of a shop.",
	"import":   "Print the tests that a team has for its tables as datasets of the data-quality exporter's configuration.",
	"replay":   "Run the rules over simulated or recorded months in minutes, and measure what their alerts are worth: time to detect, false alarms; or over the history of a Prometheus. See docs/replay.md.",
	"report":   "Profile a dataset now and write one HTML page: its bins beside the baselines, its keys and checks, and what has no bins and why. Nothing is stored.",
}

// DataCommands lists the commands of DataProgram.
func DataCommands() []string { return slices.Sorted(maps.Keys(dataCommands)) }

// DataCommand declares a command of DataProgram.
func DataCommand(app *kingpin.Application, name string) *kingpin.CmdClause {
	return app.Command(name, dataCommands[name])
}

// HandOver declares the commands of DataProgram without their flags, for the list of commands. Start runs them.
func HandOver(app *kingpin.Application, _ io.Writer) Commands {
	for _, name := range DataCommands() {
		DataCommand(app, name)
	}
	return nil
}

// ReadsData reports whether args contain a command of DataProgram, or ask for its help.
func ReadsData(args []string) (command string, ok bool) {
	words := slices.DeleteFunc(slices.Clone(args), func(arg string) bool { return strings.HasPrefix(arg, "-") })
	if len(words) > 1 && words[0] == "help" {
		words = words[1:]
	}
	if len(words) == 0 {
		return "", false
	}
	_, ok = dataCommands[words[0]]
	return words[0], ok
}

// Start replaces this process by DataProgram with the same arguments. It returns only on an error.
func Start(args []string) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	if self, err = filepath.EvalSymlinks(self); err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	program, err := find(filepath.Dir(self))
	if err != nil {
		return err
	}
	// #nosec G204 -- DataProgram belongs to this program, and its arguments are those that the user gave.
	if err := syscall.Exec(program, append([]string{program}, args...), os.Environ()); err != nil {
		return fmt.Errorf("start %s: %w", program, err)
	}
	return nil
}

// find looks for DataProgram beside this program, where an installation puts it, and then in PATH.
func find(dir string) (string, error) {
	sibling := filepath.Join(dir, DataProgram)
	_, err := os.Stat(sibling)
	switch {
	case err == nil:
		return sibling, nil
	case !errors.Is(err, fs.ErrNotExist):
		return "", err
	}
	found, err := exec.LookPath(DataProgram)
	if err != nil {
		return "", fmt.Errorf("this command is part of %s, which is neither in %s nor in PATH: install its package, or build it with `make bin/%[1]s`", DataProgram, dir)
	}
	return found, nil
}
