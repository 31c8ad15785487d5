#!/usr/bin/env bash
# Finds a monitoring program for the demo, or builds it: tools/find.sh <name> <oldest version on PATH that will do> <folder>.
# It puts a link of that name into the folder. The program that `make tools` has built comes first, then PATH.
set -euo pipefail

name=$1 oldest=$2 folder=$3
built=$PWD/bin/tools/$name

# at_least holds where the first version is the second or a later one.
at_least() { [[ $(printf '%s\n' "$1" "$2" | sort -V | head -n 1) == "$2" ]]; }

# use links the program.
use() {
	mkdir -p "$folder"
	ln -sfn "$1" "$folder/$name"
}

if [[ ! -e $built ]] && found=$(command -v "$name"); then
	version=$("$found" --version 2>&1 | sed -n "s/^$name, version \([0-9][0-9.]*\).*/\1/p")
	if [[ -n $version ]] && at_least "$version" "$oldest"; then
		echo "using $found $version"
		use "$(realpath "$found")"
		exit
	fi
	echo "not using $found ${version:-of unknown version}: the demo wants $oldest or later"
fi
make --no-print-directory TOOLS="prometheus promtool alertmanager" "bin/tools/$name"
use "$built"
