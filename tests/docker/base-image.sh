#!/bin/sh
# Print the name of an image with Python 3.11 or newer to build on, making one where none can be
# pulled.
#
# RUSD_BASE_IMAGE, if set; else python:3.11-slim, if it is there or can be pulled; else a minimal
# Debian by debootstrap (needs root), of the release and the mirror that apt is configured for.
set -eu

if [ -n "${RUSD_BASE_IMAGE:-}" ]; then
    echo "$RUSD_BASE_IMAGE"
    exit
fi
# "RELEASE URI" of apt's first source that debootstrap knows.
source=$(apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' \
    'Created-By: Packages' 2>/dev/null |
    while read -r release component uri; do
        if [ "$component" = main ] && [ -e "/usr/share/debootstrap/scripts/$release" ]; then
            echo "$release $uri"
            break
        fi
    done) || true
release=${source%% *}
mirror=${source#* }

for image in python:3.11-slim "rusd-base:${release:-none}"; do
    if docker image inspect "$image" >/dev/null 2>&1; then
        echo "$image"
        exit
    fi
done
if timeout 120 docker pull --quiet python:3.11-slim >&2; then
    echo python:3.11-slim
    exit
fi
if [ -z "$release" ]; then
    echo "no registry, and no source in apt's configuration that debootstrap knows" >&2
    exit 1
fi
echo "no registry: building a base image of $release by debootstrap from $mirror" >&2
root=$(mktemp -d)
trap 'rm -rf "$root" "$root.log"' EXIT
# binutils strip the libraries in the wheels; nothing of the base but what is used ends in the image.
debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates,binutils \
    "$release" "$root" "$mirror" >"$root.log" 2>&1 || {
    tail -20 "$root.log" >&2
    exit 1
}
rm -rf "$root"/var/cache/apt/archives/*.deb
tar -C "$root" -c . | docker import - "rusd-base:$release" >&2
echo "rusd-base:$release"
