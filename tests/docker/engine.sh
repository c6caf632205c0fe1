# shellcheck shell=sh
# Sourced by scripts that start an engine of their own.

# Wait until the engine answers whose process is $1 and whose log is $2. Ends the script with 77 if it
# does not.
await_engine() {
    tries=0
    until docker info >/dev/null 2>&1; do
        tries=$((tries + 1))
        if [ "$tries" -gt 60 ] || ! kill -0 "$1" 2>/dev/null; then
            echo "the engine did not start:" >&2
            tail -20 "$2" >&2
            exit 77
        fi
        sleep 0.5
    done
}
