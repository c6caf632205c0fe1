#!/bin/sh
# Docker Compose, by whichever name it is installed. Version 1 learns the option --wait of `up`.
set -eu
if docker compose version >/dev/null 2>&1; then
    exec docker compose "$@"
elif ! command -v docker-compose >/dev/null; then
    echo "Docker Compose is missing: apt-get install docker-compose (or the compose plugin)" >&2
    exit 1
fi
case " $* " in
*" --wait "*) ;;
*) exec docker-compose "$@" ;;
esac
for argument in "$@"; do
    shift
    [ "$argument" = --wait ] || set -- "$@" "$argument"
done
docker-compose "$@"
for name in rusd-1 rusd-2 rusd-3; do
    tries=0
    until [ "$(docker inspect --format '{{.State.Health.Status}}' "$name")" = healthy ]; do
        tries=$((tries + 1))
        [ "$tries" -lt 120 ] || { echo "$name is not healthy" >&2; exit 1; }
        sleep 0.5
    done
done
