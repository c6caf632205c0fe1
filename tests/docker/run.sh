#!/bin/sh
# The image and the compose file on a real engine: `make test-docker`, or with `chaos` as the first
# argument: chaos.sh.
#
# Uses the engine that runs. Where none does and we are root, it installs what is missing from
# Debian's packages and starts an engine of its own for the time of the test, with its data in a
# temporary directory. Leaves nothing in an engine, and nothing of its own engine: images, build stages,
# the bridge and the rules of the packet filter go. Installed packages stay.
#
# Arguments go to pytest. Exit code 77: there is no engine and none can be had here.
set -eu
cd "$(dirname "$0")/../.."
. tests/docker/engine.sh

need() { # need COMMAND PACKAGE: install the package where the command is missing
    command -v "$1" >/dev/null && return
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "$1 is missing (Debian package: $2)" >&2
        exit 77
    fi
    [ -n "${updated:-}" ] || apt-get update -q >&2
    updated=1
    DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$2" >&2
}

need docker docker.io

engine=
base_before=
ours= # images that were not there before
scratch=$(mktemp -d)
finish() {
    if [ -z "$engine" ]; then
        for image in $ours; do
            docker rmi "$image" >/dev/null 2>&1 || true
        done
        # The builder keeps the images of the first stage, which have no name.
        docker image prune --force --filter label=rusd.stage=build >/dev/null 2>&1 || true
        [ -n "$base_before" ] || docker rmi "${RUSD_BASE_IMAGE:-}" >/dev/null 2>&1 || true
    else
        kill "$engine"
        wait "$engine" || true
        [ -e "$scratch/bridge" ] || ip link delete docker0 2>/dev/null || true
        iptables-restore <"$scratch/rules" || true
        cat "$scratch/forward" >/proc/sys/net/ipv4/ip_forward || true
    fi
    rm -rf "$scratch"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

if ! docker info >/dev/null 2>&1; then
    need dockerd docker.io
    need iptables iptables
    need ip iproute2
    ! ip link show docker0 >/dev/null 2>&1 || touch "$scratch/bridge"
    iptables-save >"$scratch/rules"
    # Tables that are not there yet would keep the engine's rules.
    grep -q '^\*nat' "$scratch/rules" || printf '*nat\nCOMMIT\n' >>"$scratch/rules"
    grep -q '^\*filter' "$scratch/rules" ||
        printf '*filter\n:FORWARD ACCEPT [0:0]\nCOMMIT\n' >>"$scratch/rules"
    cat /proc/sys/net/ipv4/ip_forward >"$scratch/forward"
    dockerd --data-root "$scratch/data" --exec-root "$scratch/exec" --pidfile "$scratch/pid" \
        >"$scratch/log" 2>&1 &
    engine=$!
    await_engine "$engine" "$scratch/log"
fi
docker compose version >/dev/null 2>&1 || need docker-compose docker-compose
need debootstrap debootstrap

for image in rusd-test:compose rusd:chaos rusd:previous etcd:chaos etcd:chaos-too; do
    docker image inspect "$image" >/dev/null 2>&1 || ours="$ours $image"
done
# A base that was there, or that the caller names, stays.
base_before=${RUSD_BASE_IMAGE:-}$(docker images --quiet rusd-base)
base_before=$base_before$(docker images --quiet python:3.11-slim)
RUSD_BASE_IMAGE=$(sh tests/docker/base-image.sh)
RUSD_IMAGE=rusd-test:compose # not the one of a cluster that somebody uses
export RUSD_BASE_IMAGE RUSD_IMAGE
if [ "${1:-}" = chaos ]; then
    shift
    sh tests/docker/chaos.sh "$@"
else
    .venv/bin/python -m pytest tests/docker "$@"
fi
