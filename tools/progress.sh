#!/usr/bin/env bash
# Runs a `go build -v`, and counts the packages instead of naming them. The Go toolchain gives no other sign of progress.
# Whatever is not the path of a package is a message and passes through.
set -euo pipefail

live=0
[[ -t 1 ]] && live=1
"$@" 2>&1 | awk -v live="$live" '
	NF == 1 && /^[a-zA-Z0-9._-]+(\/|$)/ {
		compiled++
		if (live || compiled % 100 == 0) printf "%s      %4d packages compiled%s", live ? "\r" : "", compiled, live ? "" : "\n"
		fflush()
		next
	}
	{ print; fflush() }
	END { if (live && compiled) print "" }'
