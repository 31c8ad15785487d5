#!/usr/bin/env bash
# Installs the clients that the model-quality exporter is held against, each with what it needs into an environment of its own, and runs
# real.py on them. CLIENTS names the environments, by default all: "otel js" is requirements-otel.txt and the packages of npm.
set -euo pipefail
cd "$(dirname "$0")/../.."

all=$(cd tools/clients && echo requirements-*.txt js)
all=${all//requirements-/} all=${all//.txt/}
chosen=()
for name in ${CLIENTS:-$all}; do
	if [[ $name == js ]]; then
		if [[ -n ${CLIENTS-} ]] && ! command -v npm >/dev/null; then
			echo "npm is not installed: the clients in JavaScript are left out"
			continue
		fi
		chosen+=(--environment js)
		cmp -s tools/clients/js/package-lock.json bin/clients/js/package-lock.json && continue
		echo "installing the packages of npm …"
		mkdir -p bin/clients/js
		cp tools/clients/js/package.json tools/clients/js/package-lock.json bin/clients/js/
		(cd bin/clients/js && npm ci --silent --no-audit --no-fund --ignore-scripts) || { rm bin/clients/js/package-lock.json && exit 1; }
		continue
	fi
	requirements=tools/clients/requirements-$name.txt environment=bin/clients/$name
	chosen+=(--environment "$name")
	cmp -s "$requirements" "$environment/requirements.txt" && continue
	echo "installing $name from PyPI …"
	rm -rf "$environment"
	mkdir -p bin/clients
	python3 -m venv "$environment"
	"$environment/bin/pip" install --quiet --disable-pip-version-check --no-deps -r "$requirements"
	cp "$requirements" "$environment/requirements.txt"
done
exec python3 tools/clients/real.py "${chosen[@]}" "$@"
