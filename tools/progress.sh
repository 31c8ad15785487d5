#!/usr/bin/env bash
# Runs a `go build -v`, and counts modules and packages instead of naming them. The Go toolchain gives no other sign of
# progress. Whatever is neither a package nor a download is a message and passes through.
set -euo pipefail

live=0
[[ -t 1 ]] && live=1
"$@" 2>&1 | awk -v live="$live" '
	function count(n, what) {
		if (live || n % 100 == 0) printf "%s      %4d %s%s", live ? "\r" : "", n, what, live ? "" : "\n"
		fflush()
	}
	/^go: downloading / { count(++downloaded, "modules downloaded"); next }
	NF == 1 && /^[a-zA-Z0-9._-]+(\/|$)/ { count(++compiled, "packages compiled "); next }
	{ print; fflush() }
	END { if (live && compiled + downloaded) print "" }'
