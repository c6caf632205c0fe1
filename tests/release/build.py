"""Builds wheel and sdist of a revision: `python -m tests.release.build DIRECTORY [REVISION]`.

The revision is cloned, so that nothing of the tree that is not committed gets in, and the wheel is
built from the sdist, so that the sdist is complete. Equal revisions give equal bytes with the same
setuptools (the wheel names its version): times are SOURCE_DATE_EPOCH, or that of the commit, and
modes do not depend on the umask. setuptools does that for wheels; sdists are written anew here.

The package index shows README.md by itself: its links and pictures get the repository's address.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
UMASK = 0o022
#: Up to the target of a relative link, or of a relative picture (which begins with "!").
_RELATIVE = re.compile(r"(!?)(\[[^]]*\]\()(?![a-z]+:|#)")


class Artefacts(NamedTuple):
    """The two files of a release."""

    wheel: Path
    sdist: Path


def clone(directory: Path, revision: str = "HEAD", root: Path = ROOT) -> None:
    """Check out a revision of the repository at `root`. Raises CalledProcessError if absent."""
    commit = git(root, "rev-parse", "--verify", f"{revision}^{{commit}}")
    git(root, "clone", "--quiet", "--no-checkout", str(root), str(directory), umask=UMASK)
    git(directory, "checkout", "--quiet", "--detach", commit, umask=UMASK)


def build(tree: Path, out: Path) -> Artefacts:
    """Build both from a clone, whose README.md is changed, with setuptools from PyPI."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH") or git(tree, "log", "-1", "--format=%ct")
    out.mkdir(parents=True, exist_ok=True)
    readme, project = tree / "README.md", tomllib.loads((tree / "pyproject.toml").read_text())
    readme.write_text(absolute(readme.read_text(), project["project"]["urls"]["Homepage"]))
    _python(epoch, "build", "--sdist", "--outdir", str(out), str(tree))
    sdist = next(out.glob("*.tar.gz"))
    sdist.write_bytes(rewritten(sdist, int(epoch)))
    _python(epoch, "pip", "wheel", "--no-deps", "--wheel-dir", str(out), str(sdist))
    return Artefacts(next(out.glob("*.whl")), sdist)


def absolute(text: str, repository: str) -> str:
    """Lead relative links and pictures to the branch main of a repository on GitHub."""
    folder = {"": "blob", "!": "raw"}
    return _RELATIVE.sub(lambda found: f"{found[0]}{repository}/{folder[found[1]]}/main/", text)


def _python(epoch: str, module: str, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env={**os.environ, "SOURCE_DATE_EPOCH": epoch},
        umask=UMASK,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{module} {arguments[0]} failed\n{done.stdout}\n{done.stderr}")


def rewritten(sdist: Path, epoch: int) -> bytes:
    """The archive in order of names, with one time and the usual modes for all, without owners."""
    plain = io.BytesIO()
    with (
        tarfile.open(sdist) as old,
        tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as new,
    ):
        for entry in sorted(old.getmembers(), key=lambda each: each.name):
            entry.mtime = epoch
            entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            entry.pax_headers = {}
            new.addfile(entry, old.extractfile(entry) if entry.isfile() else None)
    return gzip.compress(plain.getvalue(), mtime=epoch)


def git(directory: Path, *arguments: str, umask: int = -1) -> str:
    command = ["git", "-C", str(directory), *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, umask=umask)
    return done.stdout.strip()


def main(out: str, revision: str = "HEAD") -> None:
    """Build a revision into a directory, and print what was built with its hashes."""
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch) / "rusd"
        clone(tree, revision)
        for path in build(tree, Path(out)):
            print(hashlib.sha256(path.read_bytes()).hexdigest(), path)


if __name__ == "__main__":
    main(*sys.argv[1:])
