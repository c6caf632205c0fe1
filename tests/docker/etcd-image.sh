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
mkdir -p "$context/root/usr/local/bin" "$context/root/data"
cp "$1" "$context/root/usr/local/bin/etcd"
# A volume takes its mode, so that any user may write, as in the image of rusd.
chmod 1777 "$context/root/data"
cat >"$context/Dockerfile" <<END
FROM $base
COPY root /
ENTRYPOINT ["/usr/local/bin/etcd"]
END
docker build --quiet --tag etcd:chaos "$context" >&2
echo etcd:chaos
