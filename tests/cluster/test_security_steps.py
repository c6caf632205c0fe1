"""The commands of docs/security.md, run in their order by a shell."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from cluster import ports

DOCUMENT = Path(__file__).parents[2] / "docs" / "security.md"
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: Each line that must fail begins with "! ": a shell with -e does not stop at those by itself.
MUST_FAIL = re.compile(r"^! (.*)$", re.MULTILINE)


def script() -> str:
    blocks = BLOCK.findall(DOCUMENT.read_text())
    assert len(blocks) >= 7
    commands = MUST_FAIL.sub(
        r"if \1; then echo 'this must fail, and did not: \1' >&2; exit 1; fi", "\n".join(blocks)
    )
    claim = ports.Claim()
    client, peer, metrics = claim.any(3)
    claim.release()
    for documented, free in (("2379", client), ("2380", peer), ("2381", metrics)):
        commands = commands.replace(f"127.0.0.1:{documented}", f"127.0.0.1:{free}")
    return "set -eu\n" + commands


def test_the_steps_of_the_document_do_what_it_says(tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {name: value for name, value in os.environ.items() if not name.startswith("ETCD")}
    with subprocess.Popen(
        ["bash", "-c", script()],
        cwd=tmp_path,
        env=env | {"PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            # (The member in the background writes to a file, so this ends with the shell.)
            output, _ = process.communicate(timeout=60)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
    log = (tmp_path / "rusd.log").read_text() if (tmp_path / "rusd.log").exists() else ""
    assert process.returncode == 0, f"{output}\n{log}"
