#!/usr/bin/env bash
# Installs system packages where the machine lets us: tools/apt-install.sh <package …>. Elsewhere it names them and fails.
set -euo pipefail

if [[ $EUID != 0 ]] || ! command -v apt-get >/dev/null; then
	echo "install yourself (this needs root on Debian): $*" >&2
	exit 1
fi
echo "installing the system packages: $* …"
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
