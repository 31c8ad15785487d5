#!/usr/bin/env bash
# Installs what tests run against and Go modules do not bring: PostgreSQL, MariaDB and Chromium from the system's packages,
# ClickHouse's engine, MLflow and scikit-learn from PyPI, Trino from Maven Central. What is there already is left alone.
# On a developer's machine, what cannot be had is named and its tests skip; in CI that is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."

trino_version=476
python=bin/tools/python
trino=bin/tools/trino

postgres() {
	compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || command -v postgres >/dev/null || tools/apt-install.sh postgresql
}

mariadb() {
	type -P mariadbd >/dev/null || [[ -x /usr/sbin/mariadbd ]] || tools/apt-install.sh mariadb-server
}

# chromium opens the responder's page; the distribution pins it.
chromium() {
	type -P chromium >/dev/null || tools/apt-install.sh chromium
}

python_packages() {
	cmp -s tools/python/requirements.txt $python/requirements.txt ||
		echo "installing Python packages with ClickHouse, Java and MLflow inside (about 500 MiB) …"
	tools/venv.sh $python tools/python/requirements.txt --no-deps
}

# trino_server keeps the part of the distribution that tests use. Its files are links to each other, so all are unpacked first.
trino_server() {
	local plugins=(memory tpch iceberg delta-lake)
	[[ $(cat $trino/version 2>/dev/null) == "$trino_version ${plugins[*]}" ]] && return
	command -v mvn >/dev/null || tools/apt-install.sh maven || return
	echo "fetching Trino $trino_version (800 MiB, once) …"
	local name=trino-server-$trino_version
	rm -rf $trino && mkdir -p $trino &&
		mvn -q -B -Dstyle.color=never dependency:copy -Dartifact=io.trino:trino-server:$trino_version:tar.gz -DoutputDirectory="$PWD/$trino" &&
		mkdir $trino/all && tar -xzf $trino/$name.tar.gz -C $trino/all --strip-components=1 &&
		mkdir $trino/plugin && mv $trino/all/lib $trino/ && mv "${plugins[@]/#/$trino/all/plugin/}" $trino/plugin/ &&
		rm -rf $trino/$name.tar.gz $trino/all &&
		echo "$trino_version ${plugins[*]}" >$trino/version
}

# want runs one of the steps above. An interrupted step starts over the next time: its mark is written last.
want() {
	"$2" && return
	echo "no $1: its tests $([[ ${CI:-} == true ]] && echo fail || echo are skipped)" >&2
	[[ ${CI:-} != true ]]
}

want PostgreSQL postgres
want MariaDB mariadb
want Chromium chromium
want 'ClickHouse and MLflow' python_packages
want Trino trino_server
