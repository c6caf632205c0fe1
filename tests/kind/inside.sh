#!/bin/sh
# The part of run.sh that runs in the namespaces: the engine, and the tests.
set -eu
build=$1
scratch=$2
shift 2
. tests/docker/engine.sh

ip link set lo up
echo 1 >/proc/sys/net/ipv4/ip_forward
export DOCKER_HOST="unix://$scratch/docker.sock"
dockerd --host "$DOCKER_HOST" --data-root "$scratch/data" --exec-root "$scratch/exec" \
    --pidfile "$scratch/pid" --cgroup-parent /rusd-kind \
    --containerd-namespace rusd-kind --containerd-plugins-namespace rusd-kind-plugins \
    --add-runtime limited="$PWD/tests/kind/runtime.py" --default-runtime limited \
    >"$scratch/log" 2>&1 &
engine=$!
await_engine "$engine" "$scratch/log"
docker import "$build/node.tar" rusd-kind-root >/dev/null
docker build --quiet --tag rusd-kind-node - <<'END' >/dev/null
FROM rusd-kind-root
ENV container=docker
STOPSIGNAL SIGRTMIN+3
ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]
END

# Envoy, which kind puts in front of several control planes. It needs the C library and a shell.
mkdir "$scratch/balancer"
cp "$build/envoy" "$scratch/balancer"
docker build --quiet --tag "$(cat "$build/envoy.image")" --file - "$scratch/balancer" <<'END' >/dev/null
FROM rusd-kind-root
COPY envoy /usr/local/bin/
END

# kind and kubectl of this build, before all others; their files in the scratch directory.
mkdir "$scratch/bin" "$scratch/home"
ln -s "$build/kind" "$build/kubernetes" "$scratch/bin"
ln -s kubernetes "$scratch/bin/kubectl"
export PATH="$scratch/bin:$PATH" HOME="$scratch/home" TMPDIR="$scratch"
export RUSD_BASE_IMAGE=rusd-kind-root RUSD_TEST_KIND=rusd-kind-node
status=0
.venv/bin/python -m pytest tests/kind "$@" || status=$?
kill "$engine"
wait "$engine" || true
exit "$status"
