#!/bin/sh
# A kind cluster on rusd in containers: `make test-kind` (needs root, Docker, Compose, debootstrap).
#
# The tests have an engine of their own, without any image registry, in network, mount and process
# namespaces of their own: published ports meet nothing else, and everything ends with this script.
# The kubelet sets kernel parameters of the whole machine: they are put back.
set -eu
cd "$(dirname "$0")/../.."
build=$(realpath "$1")
shift

for program in docker dockerd debootstrap runc nsenter; do
    command -v "$program" >/dev/null || { echo "$program is missing" >&2; exit 77; }
done
[ "$(id -u)" = 0 ] || { echo "root is needed for the engine and its namespaces" >&2; exit 77; }

parameters="vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops
kernel/keys/root_maxkeys kernel/keys/root_maxbytes"
kept=
for parameter in $parameters; do
    kept="$kept $parameter=$(cat "/proc/sys/$parameter")"
done
scratch=$(mktemp -d)

finish() {
    for parameter in $kept; do
        echo "${parameter#*=}" >"/proc/sys/${parameter%%=*}"
    done
    # What a killed engine leaves of its containers.
    find /sys/fs/cgroup -depth -type d -path '*/rusd-kind*' -exec rmdir {} + 2>/dev/null || true
    rm -rf "$scratch"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

unshare --net --mount --pid --fork --kill-child --mount-proc \
    sh tests/kind/inside.sh "$build" "$scratch" "$@"
