"""`make kind`: what it says when something is missing, and what it gives to kind."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from cluster import compose_tls
from cluster.kind import command, config, store, tools

BASE = tools.ROOT / "kind-config.yaml"


def program(directory: Path, name: str, text: str) -> None:
    path = directory / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def external(text: str) -> dict[str, object]:
    """The etcd that a configuration of kind names."""
    patches = map(yaml.safe_load, yaml.safe_load(text)["kubeadmConfigPatches"])
    return next(patch["etcd"]["external"] for patch in patches if "etcd" in patch)


@pytest.mark.parametrize("missing", ["docker", "kind", "kubectl"])
def test_a_missing_program_is_named_with_its_source(
    missing: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in {"docker", "kind", "kubectl"} - {missing}:
        program(tmp_path, name, "exit 0")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert command.main(["up"]) == 1
    said = capsys.readouterr().err
    assert f"{missing} is missing: https://" in said
    assert said.count("missing") == 1


def test_an_engine_that_does_not_answer_is_told_from_a_missing_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("kind", "kubectl"):
        program(tmp_path, name, "exit 0")
    program(tmp_path, "docker", "echo permission denied >&2; exit 1")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert command.main(["up"]) == 1
    said = capsys.readouterr().err
    assert "no Docker engine answers" in said
    assert "permission denied" in said


def test_a_cluster_that_exists_is_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("docker", "kubectl"):
        program(tmp_path, name, "exit 0")
    program(tmp_path, "kind", "echo other; echo rusd")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert command.main(["up"]) == 1
    assert "a kind cluster rusd already" in capsys.readouterr().err


def test_the_files_of_a_client_belong_to_a_named_store(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["up", "--cert", "client.crt"])
    assert "--cert belongs to --endpoints" in capsys.readouterr().err


def test_a_running_store_takes_the_place_of_the_members_in_containers(tmp_path: Path) -> None:
    urls = ["https://a.example:2379", "https://192.0.2.1:2379"]
    files = [tmp_path / name for name in ("ca", "cert", "key")]
    made = config.of_store(BASE.read_text(), config.Store(urls, *files))
    mounts = yaml.safe_load(made)["nodes"][0]["extraMounts"]
    mounted = {mount["containerPath"]: mount["hostPath"] for mount in mounts}
    found = external(made)
    assert found["endpoints"] == urls
    named = [mounted[str(found[field])] for field in ("caFile", "certFile", "keyFile")]
    assert named == [str(file) for file in files]


def test_a_store_without_tls_mounts_nothing() -> None:
    made = config.of_store(BASE.read_text(), config.Store(["http://192.0.2.1:2379"]))
    assert external(made) == {"endpoints": ["http://192.0.2.1:2379"]}
    assert yaml.safe_load(made)["nodes"][0]["extraMounts"] == []


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:2379", "https://localhost:2379", "http://[::1]:1"]
)
def test_a_loopback_address_is_refused_since_the_node_has_its_own(url: str) -> None:
    with pytest.raises(ValueError, match="loopback"):
        config.of_store(BASE.read_text(), config.Store([url]))


def test_a_store_without_a_scheme_is_refused() -> None:
    with pytest.raises(ValueError, match="not a URL"):
        config.of_store(BASE.read_text(), config.Store(["rusd-1:2379"]))


def test_each_of_several_control_planes_has_the_files_of_the_store(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("ca", "cert", "key")]
    named = config.of_store(BASE.read_text(), config.Store(["https://192.0.2.1:2379"], *files))
    one = yaml.safe_load(named)["nodes"]
    nodes = yaml.safe_load(config.of_control_planes(named, 3))["nodes"]
    assert [node["role"] for node in nodes] == ["control-plane"] * 3
    assert nodes[1:] == one * 2
    assert nodes[0]["extraMounts"][: len(files)] == one[0]["extraMounts"]
    # What kind copies from node to node.
    assert [mount["containerPath"] for mount in nodes[0]["extraMounts"][len(files) :]] == [
        "/etc/kubernetes/pki/etcd/ca.crt",
        "/etc/kubernetes/pki/etcd/ca.key",
    ]


def test_control_planes_are_counted_for_a_configuration_of_one_node() -> None:
    three = config.of_control_planes(BASE.read_text(), 3)
    with pytest.raises(ValueError, match="names 3 nodes already"):
        config.of_control_planes(three, 3)


def test_a_cluster_without_a_control_plane_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["up", "--control-planes", "0"])
    assert "--control-planes: at least 1" in capsys.readouterr().err


def test_the_published_files_name_the_same_members_and_certificates() -> None:
    found = external(BASE.read_text())
    assert found["endpoints"] == [f"https://{member}:2379" for member in compose_tls.MEMBERS]
    override = yaml.safe_load((tools.ROOT / "docker-compose.tls.yml").read_text())
    base = yaml.safe_load((tools.ROOT / "docker-compose.yml").read_text())
    members = [name for name in base["services"] if name.startswith("rusd-")]
    assert list(override["services"]) == members
    assert members[:3] == list(compose_tls.MEMBERS)
    assert base["networks"]["rusd"]["name"] == store.NETWORK
    mounts = yaml.safe_load(BASE.read_text())["nodes"][0]["extraMounts"]
    mounted = [mount["containerPath"] for mount in mounts]
    assert mounted == [found["caFile"], found["certFile"], found["keyFile"]]
    assert all(mount["hostPath"].startswith("build/tls/") for mount in mounts)
    assert command.TLS == tools.ROOT / "build" / "tls"
