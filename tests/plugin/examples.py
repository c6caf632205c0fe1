"""The examples of docs/testing.md, by name, and the environments in which they run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.support.pair import command

ROOT = Path(__file__).parents[2]
_EXAMPLE = re.compile(r"```python\n# example: (\w+)\n(.*?)```", re.DOTALL)

EXAMPLES = dict(_EXAMPLE.findall((ROOT / "docs" / "testing.md").read_text()))


def run(
    name: str, directory: Path, *options: str, python: str = sys.executable, path: str = ""
) -> str:
    """Run an example with pytest and return its output.

    `path` goes before the packages of `python`.
    """
    file = directory / f"test_{name}.py"
    file.write_text(EXAMPLES[name])
    environment = {key: text for key, text in os.environ.items() if not key.startswith("PYTEST_")}
    if path:
        environment["PYTHONPATH"] = path
    done = subprocess.run(
        [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, file.name],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def real_etcd() -> str:
    """The option that runs the members of an example with real etcd."""
    return f"--etcd-binary={command('etcd')}"
