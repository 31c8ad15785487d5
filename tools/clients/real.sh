#!/usr/bin/env bash
# Installs the clients that the model-quality exporter is held against, each with what it needs into an environment of its own, and runs
# real.py on them.
set -euo pipefail
cd "$(dirname "$0")/../.."

for requirements in tools/clients/requirements-*.txt; do
	name=${requirements##*/requirements-}
	environment=bin/clients/${name%.txt}
	cmp -s "$requirements" "$environment/requirements.txt" && continue
	echo "installing ${name%.txt} from PyPI …"
	rm -rf "$environment"
	mkdir -p bin/clients
	python3 -m venv "$environment"
	"$environment/bin/pip" install --quiet --disable-pip-version-check --no-deps -r "$requirements"
	cp "$requirements" "$environment/requirements.txt"
done
if ! cmp -s tools/clients/js/package-lock.json bin/clients/js/package-lock.json; then
	echo "installing the packages of npm …"
	mkdir -p bin/clients/js
	cp tools/clients/js/package.json tools/clients/js/package-lock.json bin/clients/js/
	(cd bin/clients/js && npm ci --silent --no-audit --no-fund --ignore-scripts) || { rm bin/clients/js/package-lock.json && exit 1; }
fi
exec python3 tools/clients/real.py "$@"
