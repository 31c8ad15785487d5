#!/usr/bin/env bash
# Makes dist/: archives, Debian packages, SBOMs and checksums of the programs in bin/, for one version. The same commit gives the same bytes.
# Usage: tools/release/release.sh VERSION REVISION; the programs were built before. See `make release`.
set -euo pipefail
cd "$(dirname "$0")/../.."

version=$1 revision=$2
epoch=$(git log -1 --format=%ct "$revision")
export SOURCE_DATE_EPOCH=$epoch TZ=UTC LC_ALL=C
arch=$(go env GOARCH)
tools=bin/release-tools
rm -rf dist
mkdir -p dist
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
umask 022

# archive NAME: the folder NAME of the stage as dist/NAME.tar.gz, whoever makes it and wherever.
archive() {
	tar --sort=name --mtime="@$epoch" --owner=0 --group=0 --numeric-owner --mode=u+rwX,go+rX,go-w --format=gnu -C "$stage" -c "$1" | gzip -6n >"dist/$1.tar.gz"
}

# programs ARCH FOLDER PROGRAM…: an archive of programs with what belongs to them.
programs() {
	local name=sightglass-$version-linux-$1 from=$2
	shift 2
	mkdir "$stage/$name"
	for program; do install -m 755 "$from/$program" "$stage/$name/$program"; done
	install -m 644 LICENSE CHANGELOG.md README.md "$stage/$name/"
	cp -r examples "$stage/$name/examples"
	archive "$name"
}

mapfile -t all < <(for main in cmd/*/main.go; do basename "$(dirname "$main")"; done)
echo "archives of $version"
programs "$arch" bin "${all[@]}"
# The others link C or C++ and need a machine of their kind, or a compiler for it: the release workflow has one of each.
if [[ -d bin/cross ]]; then
	for folder in bin/cross/*/; do
		other=$(basename "$folder")
		mapfile -t some < <(ls "$folder")
		programs "$other-without-c" "$folder" "${some[@]}"
	done
fi

mkdir "$stage/rules"
for form in files prometheus-operator mimir victoriametrics; do
	bin/sightglass bundle --rules="$form" "$stage/sightglass-$version-bundle/$form" >/dev/null
done
archive "sightglass-$version-bundle"
cp -r charts/sightglass "$stage/sightglass"
sed -i "s/^version: .*/version: $version/; s/^appVersion: .*/appVersion: \"$version\"/" "$stage/sightglass/Chart.yaml"
archive sightglass
mv dist/sightglass.tar.gz "dist/sightglass-chart-$version.tgz"

echo "SBOMs and Debian packages"
for program in "${all[@]}"; do
	$tools/cyclonedx-gomod bin -json -noserial -notimestamp -std -version "v$version" -output "dist/$program-$version-linux-$arch.cdx.json" "bin/$program" 2>/dev/null

	package=sightglass-$program depends='[libc6, libstdc++6, libgcc-s1]' contents=$stage/contents
	[[ $program != sightglass* ]] || package=$program
	[[ $program != sightglass-data ]] || depends='[libc6, libstdc++6, libgcc-s1, sightglass]'
	ldd "bin/$program" 2>/dev/null | grep -q libstdc++ || depends='[libc6]'
	cat >"$contents" <<-END
		- {src: bin/$program, dst: /usr/bin/$program, file_info: {mode: 0755}}
		- {src: LICENSE, dst: /usr/share/doc/$package/copyright, file_info: {mode: 0644}}
	END
	if [[ $program != sightglass* ]]; then
		# One unit for each program, from the one for all of them.
		sed "s/%i/$program/g; s#/usr/local/bin/#/usr/bin/#; /^# One unit for every program/d; s#^Description=.*#Description=Sightglass, $program#" 'examples/systemd/sightglass@.service' >"$stage/$package.service"
		echo "- {src: $stage/$package.service, dst: /usr/lib/systemd/system/$package.service, file_info: {mode: 0644}}" >>"$contents"
	fi
	cat >"$stage/nfpm.yaml" <<-END
		name: $package
		arch: $arch
		version: $version
		version_schema: semver
		maintainer: Sightglass <https://github.com/sightglass-ml/sightglass>
		description: Observability for ML pipelines, the program $program
		homepage: https://github.com/sightglass-ml/sightglass
		license: Apache-2.0
		section: net
		depends: $depends
		contents:
		$(sed 's/^/  /' "$contents")
	END
	$tools/nfpm package --config "$stage/nfpm.yaml" --packager deb --target "dist/${package}_${version//-/\~}_$arch.deb" >/dev/null
done

(cd dist && sha256sum -- * >SHA256SUMS)
echo "dist: $(find dist -type f | wc -l) files, $(du -sh dist | cut -f1)"
