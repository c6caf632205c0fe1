"""The network of namespaces where it cannot be had."""

import os
import shutil

import pytest

from cluster.chaos import command, namespaces
from cluster.chaos.subject import network_of


@pytest.fixture
def _root_without_iptables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", {"ip": "/sbin/ip"}.get)


@pytest.mark.usefixtures("_root_without_iptables")
def test_without_iptables_the_network_of_namespaces_is_refused_in_one_sentence(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command.main(["--network", "namespaces", "--time", "1"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        "--network namespaces is not possible here: the command iptables-restore is missing "
        "(package iptables)\n"
    )
    assert network_of("auto") == "proxy"


def test_namespaces_need_the_rights_of_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert namespaces.obstacle() == "it needs the rights of root"
    with pytest.raises(ValueError, match="rights of root"):
        network_of("namespaces")


def test_the_networks_that_need_no_rights_are_taken_as_they_are() -> None:
    assert [network_of(kind) for kind in ("proxy", "none")] == ["proxy", "none"]
