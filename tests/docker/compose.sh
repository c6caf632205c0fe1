#!/bin/sh
# Docker Compose, by whichever name it is installed.
set -eu
if docker compose version >/dev/null 2>&1; then
    exec docker compose "$@"
elif command -v docker-compose >/dev/null; then
    exec docker-compose "$@"
fi
echo "Docker Compose is missing: apt-get install docker-compose (or the compose plugin)" >&2
exit 1
