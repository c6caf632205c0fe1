"""A kind cluster on rusd in containers, made and removed by the command that users call."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

import yaml

from cluster.compose_tls import MEMBERS
from cluster.kind import store
from cluster.kind.command import TLS
from cluster.kind.tools import ROOT
from tests.support.pair import command
from tests.support.waiting import wait

from .node import POD_NETWORK, WORKLOAD, pod_network

#: The container of the only node, or of the first; kind counts the others from 2.
NODE = "rusd-control-plane"

#: kind's load balancer in front of several control planes.
BALANCER = "rusd-external-load-balancer"

#: Client ports of the members on this machine.
PORTS = dict(zip(MEMBERS, (2379, 22379, 32379), strict=True))

#: Seconds until a condition holds on a busy machine.
TIMEOUT = 120.0


def run(
    *arguments: str,
    stdin: str = "",
    timeout: float = TIMEOUT,
    env: Mapping[str, str] | None = None,
) -> str:
    """The output of a program that must succeed; `env`: further variables."""
    done = subprocess.run(
        arguments,
        cwd=ROOT,
        env=os.environ | dict(env or {}),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(arguments)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def eventually(condition: Callable[[], bool], what: str, timeout: float = TIMEOUT) -> None:
    """Wait until a condition holds; a failed program counts as not yet."""
    last: object = "false"

    def look() -> bool | None:
        nonlocal last
        last = "false"
        try:
            return condition() or None
        except (AssertionError, subprocess.TimeoutExpired) as error:
            last = error
            return None

    wait(look, lambda: f"{what}: not within {timeout:g} s\n{last}", timeout, pause=0.25)


def write_config(path: Path) -> Path:
    """Write kind-config.yaml for the node image of `node.py`: pods get addresses from a file."""
    config = yaml.safe_load((ROOT / "kind-config.yaml").read_text())
    config["networking"] = {"disableDefaultCNI": True}
    if not Path("/sys/fs/cgroup/cgroup.controllers").exists():
        kubelet = {"kind": "KubeletConfiguration", "failCgroupV1": False}
        config["kubeadmConfigPatches"].append(yaml.safe_dump(kubelet))
    path.write_text(yaml.safe_dump(config))
    return path


class Cluster:
    """Kubernetes and the three members under it."""

    def __init__(self, config: Path, image: str, control_planes: int = 1) -> None:
        self._config = config
        self._image = image
        #: Containers of the nodes.
        self.nodes = [NODE, *(f"{NODE}{number}" for number in range(2, control_planes + 1))]
        #: Seconds that `up` took: members, nodes, and their readiness.
        self.seconds = 0.0

    def __enter__(self) -> Self:
        try:
            self.up()
        except BaseException:
            self.show()
            self.down()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        if error[0] is not None:
            self.show()
        self.down()

    def up(self, *options: str) -> None:
        """Make the cluster."""
        started = time.monotonic()
        always = (
            *(f"--config={self._config}", f"--image={self._image}"),
            f"--control-planes={len(self.nodes)}",
        )
        print(run(sys.executable, "-m", "cluster.kind", "up", *always, *options, timeout=900))
        self.seconds = time.monotonic() - started

    def down(self) -> None:
        """Remove it with its data."""
        run(sys.executable, "-m", "cluster.kind", "down")

    def show(self) -> None:
        """Print what the members and the nodes wrote last."""
        for name in (*MEMBERS, *self.nodes, *([BALANCER] if len(self.nodes) > 1 else [])):
            done = subprocess.run(["docker", "logs", "--tail=30", name], capture_output=True)
            print(name, done.stdout.decode(), done.stderr.decode(), sep="\n")
        for words in (["get", "pods", "-A", "-o", "wide"], ["get", "events", "-A"]):
            done = subprocess.run(["kubectl", *words], capture_output=True)
            print(done.stdout.decode()[-6000:], done.stderr.decode()[-2000:])

    # --- Kubernetes ---------------------------------------------------------------------------

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        return run("kubectl", *arguments, stdin=stdin)

    def kubectl_at(self, node: str, *arguments: str) -> str:
        """Run kubectl on the API server of one node."""
        return run("docker", "exec", node, "kubectl", "--server=https://localhost:6443", *arguments)

    def insist(self, *arguments: str, stdin: str = "") -> None:
        """Run kubectl until it succeeds: a request to a member that hangs fails after a while."""

        def succeeds() -> bool:
            self.kubectl(*arguments, stdin=stdin)
            return True

        eventually(succeeds, f"kubectl {' '.join(arguments)}")

    def read(self, *arguments: str) -> dict[str, Any]:
        """An object, by the arguments of `kubectl get`."""
        found: dict[str, Any] = json.loads(self.kubectl("get", *arguments, "-o", "json"))
        return found

    def apply(self, *objects: dict[str, object], namespace: str = "default") -> None:
        listed = {"apiVersion": "v1", "kind": "List", "items": objects}
        self.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(listed))

    def rolled_out(self, name: str, namespace: str) -> None:
        """Wait until a deployment has all its pods of the current version."""
        watch = ("rollout", "status", f"deployment/{name}", "-n", namespace, "--timeout=60s")
        self.insist(*watch)

    def answer(self, url: str, namespace: str) -> str:
        """What `url` answers to a pod of the deployment `web`."""
        words = ("exec", "-n", namespace, "deployment/web", "--", "workload", "get", url)
        return self.kubectl(*words)

    def roll(self, name: str, namespace: str, version: str) -> None:
        """Give a version of the workload to a deployment and wait until its pods have it."""
        image = f"workload={WORKLOAD.format(version)}"
        self.insist("set", "image", f"deployment/{name}", image, "-n", namespace)
        self.rolled_out(name, namespace)

    def connect_pods(self) -> None:
        """Let pods run on every node and reach those of the others, as kind's own network does."""
        self.kubectl("taint", "nodes", "--all", "node-role.kubernetes.io/control-plane-")
        template = "{{.NetworkSettings.Networks.rusd.IPAddress}}"
        parts = {}
        for node in self.nodes:
            pods = self.kubectl("get", "node", node, "-o", "jsonpath={.spec.podCIDR}")
            target = ("docker", "exec", "-i", node, "cp", "/dev/stdin", f"/{POD_NETWORK}")
            run(*target, stdin=pod_network(pods))
            parts[node] = pods, run("docker", "inspect", f"--format={template}", node).strip()
        for node in self.nodes:
            for other, (pods, address) in parts.items():
                if other != node:
                    run("docker", "exec", node, "ip", "route", "replace", pods, "via", address)
        self.kubectl("delete", "pods", "-n", "kube-system", "-l", "k8s-app=kube-dns")
        self.rolled_out("coredns", "kube-system")

    # --- members ------------------------------------------------------------------------------

    def etcdctl(self, *arguments: str, members: Sequence[str] = MEMBERS) -> str:
        endpoints = ",".join(f"https://127.0.0.1:{PORTS[member]}" for member in members)
        files = (f"--cacert={TLS}/ca.crt", f"--cert={TLS}/client.crt", f"--key={TLS}/client.key")
        return run(command("etcdctl"), f"--endpoints={endpoints}", *files, *arguments)

    def leader(self) -> str:
        """The name of the leader's container."""
        status = json.loads(self.etcdctl("endpoint", "status", "-w", "json"))
        leader = status[0]["Status"]["leader"]
        ids = {each["Status"]["header"]["member_id"]: each["Endpoint"] for each in status}
        port = int(ids[leader].rpartition(":")[2])
        return next(name for name, own in PORTS.items() if own == port)

    def all_healthy(self) -> None:
        """Wait until every member serves with a quorum."""
        for member, port in PORTS.items():
            eventually(partial(store.healthy, TLS, port), f"{member} is healthy")

    def ready(self) -> None:
        """Wait until every API server answers and every node is ready."""
        for node in self.nodes:
            eventually(partial(self._answers, node), f"the API server of {node}")
        eventually(lambda: self.ready_nodes() == set(self.nodes), "the nodes are ready")

    def _answers(self, node: str) -> bool:
        return self.kubectl_at(node, "get", "--raw", "/readyz") == "ok"

    def ready_nodes(self) -> set[str]:
        """Names of the nodes that are ready."""
        ready = '{.status.conditions[?(@.type=="Ready")].status}'
        each = f"{{range .items[*]}}{{.metadata.name}} {ready} {{end}}"
        words = self.kubectl("get", "nodes", "-o", f"jsonpath={each}").split()
        return {
            name for name, ready in zip(words[::2], words[1::2], strict=True) if ready == "True"
        }
