#!/usr/bin/env bash
# Builds one pinned tool from source: tools/build.sh <module folder> <tool> <output> [progress label].
# The package behind the name comes from the tool lines of the module's go.mod, so a tool and its version stand in one place.
set -euo pipefail

module=$1 name=$2 output=$PWD/$3 label=${4:-}
cd "$module"
package=$(go list tool | grep -E "/$name\$")
version=$(go list -f '{{.Module.Version}}' "$package")

# remove_all_sd leaves the cloud SDKs of Prometheus's service discovery out (static, file and HTTP discovery remain): the build takes half as long.
# builtinassets stays off because the Go modules of Prometheus do not carry a built web page.
echo "${label:+$label }building $name $version (the first time takes minutes; later ones seconds)"
started=$SECONDS

# go build -v names a package when its compilation starts, which is the only progress the Go toolchain gives.
# Anything that is not a package path is a message and passes through.
live=0; [[ -t 1 ]] && live=1
go build -v -tags remove_all_sd,netgo -ldflags='-s -w' -o "$output" "$package" 2>&1 | awk -v live="$live" '
	NF == 1 && /^[a-zA-Z0-9.-]+(\/|$)/ && !/:$/ {
		n++
		if (live) { printf "\r      %4d packages compiled", n; fflush() }
		else if (n % 200 == 0) { printf "      %4d packages compiled\n", n; fflush() }
		next
	}
	{ print; fflush() }
	END { if (live && n) print "" }'

touch "$output" # An unchanged binary must still count as newer than go.mod.
echo "      $name ready: $((SECONDS - started)) s, $(($(wc -c <"$output") / 1048576)) MiB"
