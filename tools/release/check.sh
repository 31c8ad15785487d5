#!/usr/bin/env bash
# Holds what tools/release/release.sh made: the checksums, each Debian package unpacked and its program started, each archive's program started,
# without anything of this machine's environment.
set -euo pipefail
cd "$(dirname "$0")/../.."

version=$1
(cd dist && sha256sum --check --quiet SHA256SUMS)
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
started() {
	local said
	said=$(env -i "$1" --version 2>&1)
	[[ $said == *"version $version"* ]] || { echo "$1 says: $said; want version $version" >&2; exit 1; }
}
for deb in dist/*.deb; do
	mkdir "$root/deb"
	dpkg-deb -x "$deb" "$root/deb"
	package=$(dpkg-deb -f "$deb" Package) program=("$root"/deb/usr/bin/*)
	started "${program[0]}"
	unit=$root/deb/usr/lib/systemd/system/$package.service
	if [[ -e $unit ]]; then
		grep -q "^ExecStart=/usr/bin/$(basename "${program[0]}") " "$unit" || { echo "$deb: its unit starts something else" >&2; exit 1; }
	fi
	echo "ok: $(basename "$deb") ($(du -k "$deb" | cut -f1) kB): $(dpkg-deb -f "$deb" Depends)"
	rm -rf "$root/deb"
done
archive=dist/sightglass-$version-linux-$(go env GOARCH).tar.gz
tar -xzf "$archive" -C "$root"
for program in cmd/*/main.go; do started "$root/$(basename "$archive" .tar.gz)/$(basename "$(dirname "$program")")"; done
for sbom in dist/*.cdx.json; do
	grep -q '"bomFormat": "CycloneDX"' "$sbom" || { echo "$sbom is no SBOM" >&2; exit 1; }
done
echo "ok: archives, SBOMs and checksums of $version"
