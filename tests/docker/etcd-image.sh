#!/bin/sh
# Make an image of an etcd binary on the base image, by the name etcd:chaos, and print the name.
#
#   etcd-image.sh BASE_IMAGE BINARY
set -eu
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
cp "$2" "$context/etcd"
printf 'FROM %s\nCOPY etcd /usr/local/bin/etcd\nENTRYPOINT ["etcd"]\n' "$1" >"$context/Dockerfile"
docker build --quiet --tag "${3:-etcd:chaos}" "$context" >&2
echo "${3:-etcd:chaos}"
