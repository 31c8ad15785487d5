#!/usr/bin/env bash
# Builds one pinned tool from source: tools/build.sh <folder of its go.mod> <output> <names of all tools to build>.
# The package behind a name comes from the tool lines of go.mod, so a tool and its version stand in one place.
set -euo pipefail

module=$1 output=$PWD/$2 name=${2##*/}
shift 2
position=1
for tool; do [[ $tool == "$name" ]] && break || position=$((position + 1)); done

cd "$module"
package=$(go list tool | grep -E "/$name\$")
echo "[$position/$#] building $name $(go list -f '{{.Module.Version}}' "$package") (a minute or two the first time, seconds later)"

# remove_all_sd leaves out the cloud SDKs of Prometheus's service discovery, which are most of the build; static, file
# and HTTP discovery remain. The tag builtinassets is not set because the Prometheus module has no built web page.
#
# go build -v names each package whose compilation starts: the only progress that the Go toolchain gives. Whatever is
# not the path of a package is a message and passes through.
live=0
[[ -t 1 ]] && live=1
go build -v -tags remove_all_sd,netgo -ldflags='-s -w' -o "$output" "$package" 2>&1 | awk -v live="$live" '
	NF == 1 && /^[a-zA-Z0-9._-]+(\/|$)/ {
		compiled++
		if (live || compiled % 100 == 0) printf "%s      %4d packages compiled%s", live ? "\r" : "", compiled, live ? "" : "\n"
		fflush()
		next
	}
	{ print; fflush() }
	END { if (live && compiled) print "" }'

touch "$output" # A binary that came out the same must still be newer than its go.mod.
echo "      $name is ready after $SECONDS s ($(($(wc -c <"$output") / 1048576)) MiB)"
