package testtools

import (
	"context"
	"os"
	"os/exec"
	"testing"
)

// hostile is a script that starts a program with few permissions: all mounts except the state folder are read-only, and the program runs
// as another user without capabilities. $1 is the state folder; the other arguments are the program. The systemd unit and the examples for
// Kubernetes allow more: here, not even the folder for temporary files is writable.
const hostile = `set -eu
state=$1
shift
mount --make-rprivate /
mount --bind "$state" "$state"
cd /
awk '{print $2}' /proc/self/mounts | while read -r place; do
  case $place in "$state"|/proc*|/sys*|/dev*) ;; *) mount -o remount,bind,ro "$place" 2>/dev/null || true ;; esac
done
exec setpriv --reuid 65534 --regid 65534 --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all env -i STATE_DIRECTORY="$state" "$@"
`

// RequireHostile skips where the test may not make namespaces, other than in CI.
func RequireHostile(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		missing(t, "only root can mount the root read-only")
	}
	for _, tool := range []string{"unshare", "setpriv", "mount", "awk"} {
		if _, err := exec.LookPath(tool); err != nil {
			missing(t, "install util-linux and mawk: %v", err)
		}
	}
}

// Hostile is a program that runs as the user 65534 without an environment, on a read-only root with the one writable folder state.
func Hostile(ctx context.Context, state, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "unshare", append([]string{"-m", "sh", "-c", hostile, "hostile", state, program}, args...)...)
	cmd.Dir = "/"
	return cmd
}
