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
	// reexecMark is the environment variable that passes the time of the replacement to the new process.
	reexecMark = "SIGHTGLASS_GPU_REEXEC"
	// reexecPause limits how often the process is replaced if driver and library differ permanently, for example until a reboot.
	reexecPause = time.Minute
)

// reexec replaces the process by a new one with the same program, arguments and process ID. It is the only way to load the library of a new
// driver, because the C library keeps a closed library in memory and returns its old code when it is opened again.
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
