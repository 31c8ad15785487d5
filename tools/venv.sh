#!/usr/bin/env bash
# Makes a folder of Python packages: tools/venv.sh <folder> <requirements file> <more arguments of pip install>. A folder whose
# packages are those of the file is left alone.
set -euo pipefail

folder=$1 requirements=$2
shift 2
cmp -s "$requirements" "$folder/requirements.txt" && exit
if ! python3 -c 'import ensurepip' 2>/dev/null; then
	"$(dirname "$0")/apt-install.sh" python3-venv
fi
rm -rf "$folder"
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check -r "$requirements" "$@"
cp "$requirements" "$folder/requirements.txt" # Last, so that an interrupted installation starts over.
