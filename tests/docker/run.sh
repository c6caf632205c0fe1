#!/bin/sh
# The image and the compose file on a real engine: `make test-docker`, or with `chaos` as the first
# argument: chaos.sh.
#
# Uses the engine that runs. Where none does and we are root, it installs what is missing from
# Debian's packages and starts an engine of its own for the time of the test, with its data in a
# temporary directory. Exit code 77: there is no engine and none can be had here.
set -eu
cd "$(dirname "$0")/../.."

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
scratch=
finish() {
    if [ -n "$engine" ]; then
        kill "$engine"
        wait "$engine" || true
        rm -rf "$scratch"
    fi
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

if ! docker info >/dev/null 2>&1; then
    need dockerd docker.io
    need iptables iptables
    scratch=$(mktemp -d)
    dockerd --data-root "$scratch/data" --exec-root "$scratch/exec" --pidfile "$scratch/pid" \
        >"$scratch/log" 2>&1 &
    engine=$!
    tries=0
    until docker info >/dev/null 2>&1; do
        tries=$((tries + 1))
        if [ "$tries" -gt 60 ] || ! kill -0 "$engine" 2>/dev/null; then
            echo "the engine did not start:" >&2
            tail -20 "$scratch/log" >&2
            exit 77
        fi
        sleep 0.5
    done
fi
docker compose version >/dev/null 2>&1 || need docker-compose docker-compose
need debootstrap debootstrap

RUSD_BASE_IMAGE=$(sh tests/docker/base-image.sh)
export RUSD_BASE_IMAGE
if [ "${1:-}" = chaos ]; then
    shift
    sh tests/docker/chaos.sh "$@"
else
    .venv/bin/python -m pytest tests/docker "$@"
fi
