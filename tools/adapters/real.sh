#!/usr/bin/env bash
# Installs the servers that adapters are held against, each into an environment of its own, and runs real.py on them.
set -euo pipefail
cd "$(dirname "$0")/../.."

for server in litellm bentoml mlserver ray kserve; do
	environment=bin/adapters/$server requirements=tools/adapters/requirements-$server.txt
	cmp -s "$requirements" "$environment/requirements.txt" && continue
	echo "installing $server from PyPI …"
	rm -rf "$environment"
	python3 -m venv "$environment"
	"$environment/bin/pip" install --quiet --disable-pip-version-check --no-deps -r "$requirements"
	cp "$requirements" "$environment/requirements.txt"
done
exec python3 tools/adapters/real.py "$@"
