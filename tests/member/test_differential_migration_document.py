"""The commands of docs/migration.md, run as they stand."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from cluster import ports
from tests.support.pair import ORACLE, command, etcdutl, oracle_version

DOCUMENT = Path(__file__).parents[2] / "docs" / "migration.md"
SERVERS = ("OLD", "TRIAL", "ONE", "TWO", "THREE", "BACK")


def commands() -> str:
    """The shell blocks, in their order."""
    return "\n".join(re.findall(r"^```sh\n(.*?)^```$", DOCUMENT.read_text(), re.M | re.S))


def tools(place: Path) -> str:
    """A PATH with rusd's commands and those of the etcd to compare with."""
    place.mkdir()
    beside = Path(command(ORACLE)).parent
    for name in ("etcd", "etcdctl"):
        # (A dangling link would keep the document waiting for a server.)
        (place / name).symlink_to((beside / name).resolve(strict=True))
    wrapper = place / "etcdutl"
    wrapper.write_text("#!/bin/sh\nexec " + " ".join(f"'{one}'" for one in etcdutl()) + ' "$@"\n')
    wrapper.chmod(0o755)
    for name in ("rusd", "rusdutl"):
        (place / name).symlink_to(command(name))
    return f"{place}:{os.environ['PATH']}"


def test_the_way_in_and_the_way_out_are_as_the_document_says(tmp_path: Path) -> None:
    if (3, 6) <= oracle_version() < (3, 7):
        pytest.skip("etcd 3.6 does not start on a file of version 3.7")
    claim = ports.Claim()
    try:
        free = claim.any(2 * len(SERVERS))
        names = [f"{server}_{kind}" for server in SERVERS for kind in ("CLIENT", "PEER")]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("ETCD")}
        environment |= {name: str(port) for name, port in zip(names, free, strict=True)}
        environment |= {"WORK": str(tmp_path / "work"), "PATH": tools(tmp_path / "bin")}
        with (tmp_path / "said").open("w+") as said:
            shell = subprocess.Popen(
                ["bash", "-euxc", commands()],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                code = shell.wait(timeout=100)
            except subprocess.TimeoutExpired:
                code = None
            finally:
                # The servers that it started are of its process group.
                end_group(shell.pid)
            logs = "".join(
                f"\n{log.name}: {log.read_text()[-1500:]}"
                for log in (tmp_path / "work").glob("*.log")
            )
            said.seek(0)
            assert code == 0, said.read()[-4000:] + logs
    finally:
        claim.release()


def end_group(group: int) -> None:
    """End what is left of a process group."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return
