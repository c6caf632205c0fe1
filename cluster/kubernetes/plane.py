"""The processes of a control plane, on free loopback ports, over a running etcd or rusd.

Everything ends with the block: processes (also when the launcher is killed: `process.Guard`),
files and ports.
"""

from __future__ import annotations

import http.client
import json
import os
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from .. import ports
from ..local import LocalCluster
from ..process import Guard, Process
from ..tls import Tls
from .credentials import SERVICE_RANGE, Credentials

#: What kubeadm starts etcd with: without it, the version of a cache whose resource is not written
#: lags by up to ten minutes, and may be compacted before it moves.
STORE_FLAGS = ["--watch-progress-notify-interval=5s"]

#: Seconds until the API server answers that it is ready, on a busy machine.
START_TIMEOUT = 120.0

#: Seconds that a call of kubectl may take, if its caller does not say.
CALL_TIMEOUT = 60.0

POLL = 0.1

#: What every container has written, for `kubectl logs`.
LOGGED = "a line of a container"

PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok")

#: What kwok does to nodes and pods, out of its own module.
_STAGES = (
    "node/fast/node-initialize.yaml",
    "node/heartbeat-with-lease/node-heartbeat-with-lease.yaml",
    "pod/fast/pod-ready.yaml",
    "pod/fast/pod-complete.yaml",
    "pod/fast/pod-delete.yaml",
)


class PlaneError(RuntimeError):
    """A program of the control plane did not start, or kubectl failed; the message has its
    output.
    """


class ControlPlane:
    """kube-apiserver, controller manager, scheduler and kwok with `nodes` nodes."""

    def __init__(
        self,
        build: Path,
        store: LocalCluster,
        tls: Tls | None = None,
        *,
        nodes: int = 10,
        flags: Sequence[str] = (),
    ) -> None:
        """Describe the control plane; nothing is started yet.

        `build`: directory that `build.build` filled. `store`: the etcd cluster, which may be
        restarted meanwhile. `tls`: of its client URLs. `flags`: further flags of the API server.
        """
        self._binary = build / "kubernetes"
        self._stages = build / "kwok" / "kustomize" / "stage"
        self._store = store
        self._tls = tls
        self._nodes = nodes
        self._flags = list(flags)
        self._claim = ports.Claim()
        self._guard: Guard | None = None
        self.programs: dict[str, Process] = {}

    # --- life ---------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start all programs; on return the API server and the nodes are ready. Raises
        PlaneError.
        """
        directory = Path(tempfile.mkdtemp(prefix="rusd-kubernetes-"))
        self._guard = Guard(directory)
        self._ports = dict(zip(PROGRAMS, self._claim.any(len(PROGRAMS)), strict=True))
        self._credentials = Credentials(directory, self.url)
        self.authority = self._credentials.authority.cert
        #: An administrator's file for kubectl, and the certificate in it.
        self.kubeconfig, self.administrator = self._credentials.administrator()
        self._commands = self._all_commands(directory)
        self.programs = {name: Process(name, directory) for name in PROGRAMS}
        self.run("kube-apiserver")
        self.wait_ready()
        for name in PROGRAMS[1:]:
            self.run(name)
        self.apply(*(_node(f"node-{number}") for number in range(self._nodes)))
        ready = "--for=condition=Ready"
        self.kubectl("wait", ready, "node", "--all", "--timeout=120s", timeout=130)

    def close(self) -> None:
        """End all programs and remove their files."""
        for program in self.programs.values():
            program.kill()
        if self._guard is not None:
            self._guard.close()
            self._guard = None
        self._claim.release()

    # --- programs -----------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """URL of the API server."""
        return f"https://{ports.HOST}:{self._ports['kube-apiserver']}"

    def run(self, name: str) -> None:
        """Start a program that is not running."""
        if self._guard is None:
            raise RuntimeError("the control plane is closed")
        # Half of the garbage collector's work, for more memory.
        environment = os.environ | {"GOGC": "200"}
        self.programs[name].start(self._commands[name], environment, self._guard.group)

    def kill(self, name: str) -> None:
        """End a program with SIGKILL."""
        self.programs[name].kill()

    def revive(self, names: Sequence[str] = PROGRAMS) -> list[str]:
        """Restart programs that ended by themselves, as a kubelet does with static pods; return
        their names.

        The controller manager and the scheduler end when they cannot renew their leases in time.
        """
        ended = [name for name in names if self.programs[name].ended_by_itself]
        for name in ended:
            self.run(name)
        return ended

    def wait_ready(self, timeout: float = START_TIMEOUT) -> None:
        """Wait until the API server reports that it is ready, and restart its clients that end
        meanwhile. Raises PlaneError.
        """

        def ready() -> bool:
            found = self._ready()
            self.revive(PROGRAMS[1:])
            return found

        self.wait(ready, timeout, "kube-apiserver is not ready")

    def wait(self, look: Callable[[], object], timeout: float, failure: str) -> None:
        """Wait until `look` returns a true value. Raises PlaneError with the logs' ends."""
        deadline = time.monotonic() + timeout
        while not look():
            ended = [p for p in self.programs.values() if p.ended_by_itself]
            if ended or time.monotonic() > deadline:
                shown = ended or self.programs.values()
                tails = "\n".join(program.log_tail() for program in shown if program.log.exists())
                raise PlaneError(f"{failure} {'' if ended else f'after {timeout:g} s'}\n{tails}")
            time.sleep(POLL)

    def _ready(self) -> bool:
        host, port = ports.HOST, self._ports["kube-apiserver"]
        context = ssl.create_default_context(cafile=self._credentials.authority.cert)
        connection = http.client.HTTPSConnection(host, port, timeout=5, context=context)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    # --- using it -----------------------------------------------------------------------------

    def kubectl(self, *arguments: str, stdin: str = "", timeout: float = CALL_TIMEOUT) -> str:
        """Run kubectl and return its standard output. Raises PlaneError with its output if it
        fails.
        """
        done = self.kubectl_process(*arguments, stdin=stdin, timeout=timeout)
        if done.returncode:
            raise PlaneError(f"kubectl {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout

    def kubectl_process(
        self, *arguments: str, stdin: str = "", timeout: float = CALL_TIMEOUT
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl and return the ended process, also if it failed."""
        return subprocess.run(
            self.kubectl_command(*arguments),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def kubectl_command(self, *arguments: str) -> list[str]:
        """The command line of a call, for one that does not end by itself."""
        return [str(self._binary), "kubectl", f"--kubeconfig={self.kubeconfig}", *arguments]

    def apply(self, *objects: dict[str, object], namespace: str = "default") -> str:
        """Run `kubectl apply` on objects; `namespace` is for namespaced objects that name none."""
        listed = {"apiVersion": "v1", "kind": "List", "items": objects}
        return self.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(listed))

    # --- command lines ------------------------------------------------------------------------

    def _all_commands(self, directory: Path) -> dict[str, list[str]]:
        made = {
            "kube-apiserver": self._apiserver_flags(),
            "kube-controller-manager": self._manager_flags(),
            "kube-scheduler": self._scheduler_flags(),
            "kwok": self._kwok_flags(directory),
        }
        return {name: [str(self._binary), name, *flags] for name, flags in made.items()}

    def _apiserver_flags(self) -> list[str]:
        made = self._credentials
        scheme = "http" if self._tls is None else "https"
        store = [f"--etcd-servers={','.join(f'{scheme}://{e}' for e in self._store.endpoints)}"]
        if self._tls is not None:
            store += [
                f"--etcd-cafile={self._tls.authority}",
                f"--etcd-certfile={self._tls.client_cert}",
                f"--etcd-keyfile={self._tls.client_key}",
            ]
        return [
            *store,
            f"--bind-address={ports.HOST}",
            f"--secure-port={self._ports['kube-apiserver']}",
            f"--tls-cert-file={made.apiserver.cert}",
            f"--tls-private-key-file={made.apiserver.key}",
            f"--client-ca-file={made.authority.cert}",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={made.service_accounts.cert}",
            f"--service-account-signing-key-file={made.service_accounts.key}",
            "--authorization-mode=Node,RBAC",
            f"--service-cluster-ip-range={SERVICE_RANGE}",
            "--allow-privileged=true",
            f"--kubelet-client-certificate={made.kubelet_client.cert}",
            f"--kubelet-client-key={made.kubelet_client.key}",
            f"--requestheader-client-ca-file={made.front_proxy.cert}",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-username-headers=X-Remote-User",
            f"--proxy-client-cert-file={made.front_proxy_client.cert}",
            f"--proxy-client-key-file={made.front_proxy_client.key}",
            *self._flags,
        ]

    def _manager_flags(self) -> list[str]:
        user = self._credentials.kubeconfig("system:kube-controller-manager")
        return [
            *self._client_flags(user, "kube-controller-manager"),
            f"--root-ca-file={self._credentials.authority.cert}",
            f"--service-account-private-key-file={self._credentials.service_accounts.key}",
            "--use-service-account-credentials",
        ]

    def _scheduler_flags(self) -> list[str]:
        user = self._credentials.kubeconfig("system:kube-scheduler")
        return self._client_flags(user, "kube-scheduler")

    def _client_flags(self, user: Path, name: str) -> list[str]:
        """Flags that controller manager and scheduler share."""
        return [
            f"--kubeconfig={user}",
            f"--authentication-kubeconfig={user}",
            f"--authorization-kubeconfig={user}",
            f"--bind-address={ports.HOST}",
            f"--secure-port={self._ports[name]}",
            "--authorization-always-allow-paths=/healthz,/readyz,/livez,/metrics",
            "--leader-elect=true",
        ]

    def _kwok_flags(self, directory: Path) -> list[str]:
        made = self._credentials
        port = self._ports["kwok"]
        config = directory / "kwok.yaml"
        stages = [(self._stages / stage).read_text() for stage in _STAGES]
        config.write_text("\n---\n".join([*stages, *map(json.dumps, _kubelet(directory))]))
        return [
            f"--kubeconfig={made.kubeconfig('kwok', 'system:masters')}",
            f"--config={config}",
            "--manage-all-nodes=true",
            f"--node-ip={ports.HOST}",
            f"--node-port={port}",
            f"--server-address={ports.HOST}:{port}",
            f"--tls-cert-file={made.kubelet.cert}",
            f"--tls-private-key-file={made.kubelet.key}",
            "--node-lease-duration-seconds=40",
        ]


def _node(name: str) -> dict[str, object]:
    capacity = {"cpu": "32", "memory": "256Gi", "pods": "110"}
    labels = {"type": "kwok", "kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": labels,
            "annotations": {"kwok.x-k8s.io/node": "fake", "node.alpha.kubernetes.io/ttl": "0"},
        },
        "status": {"allocatable": capacity, "capacity": capacity},
    }


def _kubelet(directory: Path) -> list[dict[str, object]]:
    """kwok's configuration in place of a kubelet: exec runs on this machine, logs come from a
    file, and every port echoes its input.
    """
    written = directory / "pod.log"
    # As container runtimes write it.
    written.write_text(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}000Z stdout F {LOGGED}\n")

    def of_all(kind: str, spec: dict[str, object]) -> dict[str, object]:
        api = "kwok.x-k8s.io/v1alpha1"
        return {"apiVersion": api, "kind": kind, "metadata": {"name": "all"}, "spec": spec}

    return [
        of_all("ClusterExec", {"execs": [{"local": {"workDir": str(directory)}}]}),
        of_all("ClusterLogs", {"logs": [{"logsFile": str(written)}]}),
        of_all("ClusterPortForward", {"forwards": [{"command": ["cat"]}]}),
    ]
