package gpu

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// reexecMark is the environment variable in which the process tells its
	// successor when it began.
	reexecMark = "SIGHTGLASS_GPU_REEXEC"
	// reexecPause keeps a machine whose driver and library differ for good, such
	// as one that waits for a reboot, from replacing the process over and over.
	reexecPause = time.Minute
)

// reexec replaces the process by a new one of the same program, arguments and
// process id. The C library keeps a closed library in memory and opening it again
// returns the old code, so this is the only way to use a new driver's.
func reexec(now time.Time) error {
	if at, err := strconv.ParseInt(os.Getenv(reexecMark), 10, 64); err == nil {
		if next := time.Unix(at, 0).Add(reexecPause); now.Before(next) {
			return fmt.Errorf("the process was replaced for this a moment ago; next try at %s", next.UTC().Format(time.TimeOnly))
		}
	}
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the program: %w", err)
	}
	env := []string{reexecMark + "=" + strconv.FormatInt(now.Unix(), 10)}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, reexecMark+"=") {
			env = append(env, v)
		}
	}
	if err := syscall.Exec(program, os.Args, env); err != nil { //nolint:gosec // It is this program with its own arguments.
		return fmt.Errorf("replace the process: %w", err)
	}
	return nil
}
