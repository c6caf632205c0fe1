#!/bin/sh
# Make an image of an earlier revision by the name rusd:previous, and print the name.
#
#   previous-image.sh [REVISION]     (default: the commit before this one)
#
# It is built from build/wheels (`make wheels`), with that revision's own wheel.
set -eu
cd "$(dirname "$0")/../.."
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
git archive "${1:-HEAD~1}" | tar -x -C "$tree"
mkdir -p "$tree/build"
cp -r build/wheels "$tree/build/"
rm -f "$tree"/build/wheels/rusd-*
.venv/bin/python -m pip wheel --quiet --disable-pip-version-check --no-deps \
    --wheel-dir "$tree/build/wheels" "$tree" >&2
docker build --quiet --file "$tree/cluster/Dockerfile" --tag rusd:previous \
    --build-arg BASE_IMAGE="$RUSD_BASE_IMAGE" "$tree" >&2
echo rusd:previous
