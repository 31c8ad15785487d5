#!/usr/bin/env bash
# Names the programs that are missing before anything is built, with the command that installs them:
# tools/preflight.sh <go cc c++ git python3 …>. What cc and c++ stand for is what Go itself would call.
set -euo pipefail

# package prints the system's package of a program: on Debian, or where the second argument is dnf, on Fedora.
package() {
	case $1-$2 in
	c++-dnf) echo gcc-c++ ;;
	c++-*) echo g++ ;;
	cc-*) echo gcc ;;
	*) echo "$1" ;;
	esac
}

manager=apt-get
command -v apt-get >/dev/null || ! command -v dnf >/dev/null || manager=dnf

missing=() packages=()
for name; do
	program=$name
	case $name in
	go)
		command -v go >/dev/null || {
			echo "missing: go. Install Go $(sed -n 's/^go //p' go.mod) or later from https://go.dev/dl" >&2
			exit 1
		}
		continue
		;;
	cc) program=$(go env CC) ;;
	c++) program=$(go env CXX) ;;
	esac
	# CC and CXX may hold arguments after the program.
	command -v "${program%% *}" >/dev/null || { missing+=("$program") packages+=("$(package "$name" $manager)"); }
done

if ((${#missing[@]})); then
	echo "missing: ${missing[*]}. Install with: $manager install ${packages[*]}" >&2
	exit 1
fi

# A Go that is too old says so itself, or fetches the version that go.mod names, depending on GOTOOLCHAIN.
go list -m >/dev/null
