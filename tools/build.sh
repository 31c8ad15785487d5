#!/usr/bin/env bash
# Builds one pinned tool from source: tools/build.sh <folder of its go.mod> <output> <names of all tools to build>.
# The package behind a name comes from the tool lines of go.mod, so a tool and its version stand in one place.
set -euo pipefail

module=$1 output=$PWD/$2 name=${2##*/} progress=$PWD/tools/progress.sh
shift 2
position=1
for tool; do [[ $tool == "$name" ]] && break || position=$((position + 1)); done

cd "$module"
package=$(sed -nE "s#^(tool)?[[:space:]]+([^[:space:]]+/$name)\$#\2#p" go.mod)
echo "[$position/$#] building $name (a minute or two the first time, seconds later)"

# remove_all_sd leaves out the cloud SDKs of Prometheus's service discovery, which are most of the build; static, file
# and HTTP discovery remain. The tag builtinassets is not set because the Prometheus module has no built web page.
"$progress" go build -v -tags remove_all_sd,netgo -ldflags='-s -w' -o "$output" "$package"

touch "$output" # A binary that came out the same must still be newer than its go.mod.
version=$(go version -m "$output" | awk '$1 == "mod" { print $3 }')
echo "      $name $version is ready after $SECONDS s ($(($(wc -c <"$output") / 1048576)) MiB)"
