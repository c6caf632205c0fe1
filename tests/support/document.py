"""The shell commands of a document, run as they stand in one shell."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from cluster import ports
from tests.support.pair import command

DOCS = Path(__file__).parents[2] / "docs"


def commands(document: Path) -> str:
    """The shell blocks of a document, in their order."""
    return "\n".join(re.findall(r"^```sh\n(.*?)^```$", document.read_text(), re.M | re.S))


def with_commands() -> str:
    """A `PATH` with rusd's commands."""
    return f"{Path(command('rusd')).parent}:{os.environ['PATH']}"


def run(document: Path, servers: Sequence[str], directory: Path, tools: str, seconds: float) -> str:
    """Run a document's commands, and return what they printed.

    `servers`: for each the document takes the variables `…_CLIENT` and `…_PEER`, ports; its files
    go to `$WORK`. `tools`: the `PATH`. All processes have ended on return. Raises AssertionError,
    with the end of what was printed and logged, if a command fails or `seconds` pass.
    """
    claim = ports.Claim()
    try:
        names = [f"{server}_{kind}" for server in servers for kind in ("CLIENT", "PEER")]
        free = claim.any(len(names))
        environment = {k: v for k, v in os.environ.items() if not k.startswith("ETCD")}
        environment |= {name: str(port) for name, port in zip(names, free, strict=True)}
        environment |= {"WORK": str(directory / "work"), "PATH": tools}
        return _shell(commands(document), environment, directory, seconds)
    finally:
        claim.release()


def _shell(script: str, environment: Mapping[str, str], directory: Path, seconds: float) -> str:
    with (directory / "said").open("w+") as said:
        shell = subprocess.Popen(
            ["bash", "-euxc", script],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = shell.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            # The servers that it started are of its process group.
            _end_group(shell.pid)
        logs = "".join(
            f"\n{log.name}: {log.read_text()[-1500:]}" for log in (directory / "work").glob("*.log")
        )
        said.seek(0)
        printed = said.read()
        assert code == 0, printed[-4000:] + logs
        return printed


def _end_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return
