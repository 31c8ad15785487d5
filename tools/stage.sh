#!/usr/bin/env bash
# Runs one stage of a target and says what it is, how long it should take and how long it took:
# tools/stage.sh <number/total> <what> <how long it takes> <command and arguments>.
set -euo pipefail

number=$1 what=$2 expected=$3
shift 3
echo "=== $number $what ($expected)"
status=0
"$@" || status=$?
took=$(printf '%d min %02d s' $((SECONDS / 60)) $((SECONDS % 60)))
if ((status)); then
	echo "=== $number $what: failed after $took, exit status $status" >&2
	exit $status
fi
echo "=== $number $what: done in $took"
