#!/bin/sh
# Print the name of an image with Python 3.11 or newer to build on, making one where none can be
# pulled.
#
# RUSD_BASE_IMAGE, if set; else python:3.11-slim, if it is there or can be pulled; else a minimal
# Debian by debootstrap (needs root), of the release and the mirror that apt is configured for.
#
# The platform is that of the engine, or DOCKER_DEFAULT_PLATFORM (linux/arm64), which docker's commands
# obey too. Another than that of this machine needs an emulator in the kernel's binfmt_misc.
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

arch=${DOCKER_DEFAULT_PLATFORM:-linux/$(docker version --format '{{.Server.Arch}}')}
arch=$(echo "$arch" | cut -d / -f 2)
base=rusd-base:${release:-none}-$arch

for image in python:3.11-slim "$base"; do
    if [ "$(docker image inspect --format '{{.Architecture}}' "$image" 2>/dev/null)" = "$arch" ]; then
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
echo "no registry: building a base image of $release for $arch by debootstrap from $mirror" >&2
scratch=$(mktemp -d)
trap 'rm -rf --one-file-system "$scratch"' EXIT
root=$scratch/root
# binutils strip the libraries in the wheels; nothing of the base but what is used ends in the image.
debootstrap --arch="$arch" --variant=minbase \
    --include=python3,python3-venv,ca-certificates,binutils \
    "$release" "$root" "$mirror" >"$scratch/log" 2>&1 || {
    tail -20 "$scratch/log" >&2
    exit 1
}
rm -rf "$root"/var/cache/apt/archives/*.deb
# Built and not imported: older engines take their own architecture for that of an imported image.
tar -C "$root" -cf "$scratch/root.tar" .
rm -rf --one-file-system "$root"
printf 'FROM scratch\nADD root.tar /\n' >"$scratch/Dockerfile"
docker build --quiet --platform "linux/$arch" --tag "$base" "$scratch" >&2
echo "$base"
