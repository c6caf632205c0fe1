#!/bin/sh
# Make an image of an etcd binary by the name etcd:chaos, and print the name.
#
#   etcd-image.sh BINARY
#
# A static binary is all there is in it; another one gets the libraries of RUSD_BASE_IMAGE.
set -eu
base=scratch
if ldd "$1" >/dev/null 2>&1; then
    base=$RUSD_BASE_IMAGE
fi
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
cp "$1" "$context/etcd"
cat >"$context/Dockerfile" <<END
FROM $base
COPY etcd /usr/local/bin/etcd
ENTRYPOINT ["/usr/local/bin/etcd"]
END
docker build --quiet --tag etcd:chaos "$context" >&2
echo etcd:chaos
