#!/bin/sh
# Print the name of an image with Python 3.11 to build on, making one where none can be pulled.
#
# RUSD_BASE_IMAGE, if set; else python:3.11-slim, if it is there or can be pulled; else a minimal
# Debian 12 by debootstrap (needs root).
set -eu

if [ -n "${RUSD_BASE_IMAGE:-}" ]; then
    echo "$RUSD_BASE_IMAGE"
    exit
fi
for image in python:3.11-slim rusd-base:bookworm; do
    if docker image inspect "$image" >/dev/null 2>&1; then
        echo "$image"
        exit
    fi
done
if timeout 120 docker pull --quiet python:3.11-slim >&2; then
    echo python:3.11-slim
    exit
fi
echo "no registry: building a base image by debootstrap" >&2
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates \
    bookworm "$root" "${DEBIAN_MIRROR:-http://deb.debian.org/debian}" >"$root.log" 2>&1 || {
    tail -20 "$root.log" >&2
    exit 1
}
rm -rf "$root"/var/cache/apt/archives/*.deb "$root.log"
tar -C "$root" -c . | docker import - rusd-base:bookworm >&2
echo rusd-base:bookworm
