"""Selects the files of the image and copies them to a directory.

Bytecode replaces the sources (`module.pyc` beside where `module.py` was): half the size, and a
read-only root filesystem needs no cache. Tracebacks show files and lines without their text.
"""

from __future__ import annotations

import os
import py_compile
import shutil
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path

from . import origins, sbom

#: The virtual environment that holds rusd.
ENVIRONMENT = Path("/opt/rusd")
#: Commands for people in the container; `tar` serves `kubectl cp`.
TOOLS = ["sh", "cat", "cp", "df", "du", "id", "ls", "mkdir", "mv", "rm", "sleep", "stat", "tail"]
TOOLS += ["tar"]
#: Loaded by name at run time, so that no file's list of needed libraries shows them.
LOADED_LATER = ["libgcc_s.so.1"]
#: Parts of the standard library that no server needs, by path below it.
UNUSED_LIBRARY = [
    *("__pycache__", "site-packages", "dist-packages", "sitecustomize.py", "EXTERNALLY-MANAGED"),
    *("config-*", "distutils", "ensurepip", "idlelib", "lib2to3", "pydoc_data", "test", "venv"),
    *("curses", "dbm", "sqlite3", "tkinter", "turtle.py", "turtledemo", "LICENSE.txt"),
]
#: Of its compiled modules.
UNUSED_MODULES = [
    f"lib-dynload/{name}*"
    for name in ("_codecs_", "_curses", "_dbm", "_gdbm", "_sqlite3", "_test", "_tkinter", "nis")
] + ["lib-dynload/_xxtestfuzz*", "lib-dynload/readline*", "lib-dynload/xx*"]
#: Files of packages that serve compilers, type checkers, installers and tests.
UNUSED_FILES = [
    *("*.a", "*.c", "*.h", "*.pxd", "*.pxi", "*.pyi", "*.pyx", "py.typed"),
    *("__pycache__", "tests", "*_testcapi*"),
    *("INSTALLER", "RECORD", "REQUESTED", "WHEEL", "direct_url.json", "top_level.txt"),
]
#: The launcher, chaos and benchmarks of rusd.cluster need packages that the image does not have,
#: and so does rusd.testing, which is a name for a part of them.
KEPT_OF_CLUSTER = ["__init__.py", "healthcheck.py"]

#: etcd's commands, and the names of those that take their place.
COMMANDS = {"etcd": "rusd", "etcdutl": "rusdutl", "etcdctl": "rusdctl"}

PASSWD = """\
root:x:0:0:root:/:/usr/sbin/nologin
rusd:x:10001:10001:rusd:/data:/usr/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
"""
GROUP = "root:x:0:\nrusd:x:10001:\nnogroup:x:65534:\n"


class Rootfs:
    """The directory that becomes the root of the image."""

    def __init__(self, root: Path) -> None:
        self._root = root
        #: What was copied, as paths of the base image.
        self.copied: list[Path] = []
        root.mkdir(parents=True)
        for name in ("bin", "sbin", "lib", "lib64"):
            if (link := Path("/", name)).is_symlink():
                (root / name).symlink_to(os.readlink(link))

    def place(self, path: Path) -> Path:
        """Return the place of `path` of the image, with its parent directory made."""
        place = self._root / os.path.realpath(path.parent).lstrip("/") / path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        return place

    def write(self, path: str, content: str) -> None:
        """Write a file of the image's own."""
        self.place(Path(path)).write_text(content)

    def copy(self, path: Path) -> None:
        """Copy a file with every link on the way to it, once. Python sources become bytecode."""
        place = self.place(path)
        if path.suffix == ".py":
            py_compile.compile(
                str(path),
                cfile=f"{place}c",
                dfile=str(path),
                doraise=True,
                invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
            )
        elif not os.path.lexists(place):
            if path.is_symlink():
                place.symlink_to(os.readlink(path))
                self.copy(path.parent / os.readlink(path))
            else:
                shutil.copy(path, place)
        self.copied.append(path)

    def copy_tree(self, top: Path, unused: Iterable[str]) -> None:
        """Copy the files below `top` but those that match `unused`, by name or path below `top`."""
        for path in files(top, [*unused]):
            self.copy(path)

    def copy_notice(self, package: str) -> None:
        """Copy the licence of a Debian package, whose directory may be a link to another's."""
        notice = Path("/usr/share/doc", package, "copyright")
        if notice.exists():
            place = self._root / str(notice).lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(notice, place)

    def binaries(self) -> list[Path]:
        """Return the programs and libraries copied so far, in the image's directory."""
        found = [path for path in sorted(self._root.rglob("*")) if not path.is_symlink()]
        return [path for path in found if path.is_file() and is_elf(path)]

    def copy_libraries(self) -> None:
        """Copy the shared libraries that the copied binaries need."""
        needed = {line for path in self.binaries() for line in libraries(path)}
        known = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True, check=True)
        for line in known.stdout.splitlines():
            name, _, path = line.strip().partition(" => ")
            if name.split(" ")[0] in LOADED_LATER:
                needed.add(path)
        for library in sorted(needed):
            if not library.startswith(str(self._root)):
                self.copy(Path(library))

    def strip(self) -> None:
        """Remove the symbols of binaries, where the base image can."""
        if shutil.which("strip"):
            for path in self.binaries():
                subprocess.run(["strip", "--strip-unneeded", str(path)], check=True)

    def settle(self, time: int) -> None:
        """Give all files the same modes and times in each build."""
        for path in [*sorted(self._root.rglob("*"), reverse=True), self._root]:
            if not path.is_symlink():
                runs = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
                path.chmod(0o755 if runs else 0o644)
        for shared in ("data", "tmp"):  # members of any uid write here
            (self._root / shared).chmod(0o1777)
        for path in [*sorted(self._root.rglob("*"), reverse=True), self._root]:
            os.utime(path, (time, time), follow_symlinks=False)


def files(top: Path, unused: list[str]) -> Iterator[Path]:
    """Yield the files and links below `top`, in the order of their paths."""
    for directory, names, others in os.walk(top):
        below = Path(directory)

        def used(name: str, below: Path = below) -> bool:
            path = (below / name).relative_to(top)
            return not any(fnmatch(name, each) or fnmatch(str(path), each) for each in unused)

        names[:] = sorted(filter(used, names))
        yield from (below / name for name in sorted(filter(used, others)))


def is_elf(path: Path) -> bool:
    """Return whether a file is a program or library."""
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def libraries(binary: Path) -> Iterator[str]:
    """Yield the paths of the shared libraries that `binary` needs, the loader included."""
    done = subprocess.run(["ldd", str(binary)], capture_output=True, text=True, check=False)
    for line in done.stdout.splitlines():
        words = line.replace("=>", " ").split()
        yield from (word for word in words if word.startswith("/"))
        if "not found" in line:
            raise SystemExit(f"{binary}: {line.strip()}")


def main(root: Path, time: int) -> None:
    """Fill `root`."""
    image = Rootfs(root)
    site = next(ENVIRONMENT.glob("lib/python*/site-packages"))
    library = Path(sysconfig.get_path("stdlib"))
    cluster = [
        f"rusd/cluster/{path.name}"
        for path in (site / "rusd" / "cluster").iterdir()
        if path.name not in KEPT_OF_CLUSTER
    ]
    image.copy_tree(library, [*UNUSED_LIBRARY, *UNUSED_MODULES])
    image.copy_tree(site, [*UNUSED_FILES, *cluster, "rusd/testing"])
    image.copy(ENVIRONMENT / "pyvenv.cfg")
    for name in ("python", "python3", *COMMANDS.values()):
        image.copy(ENVIRONMENT / "bin" / name)
    for tool in TOOLS:
        image.copy(Path(shutil.which(tool) or f"/bin/{tool}"))
    image.copy_libraries()
    image.copy(Path("/etc/ssl/certs/ca-certificates.crt"))
    image.copy(Path("/usr/lib/os-release"))
    image.place(Path("/etc/os-release")).symlink_to("../usr/lib/os-release")
    image.strip()

    for name, command in COMMANDS.items():
        image.place(Path("/usr/local/bin", name)).symlink_to(ENVIRONMENT / "bin" / command)
    # Programs that the caller of the build adds; a real etcdctl takes the place of rusdctl's name.
    for extra in sorted(Path("build/image-bin").glob("*")):
        image.place(Path("/usr/local/bin", extra.name)).unlink(missing_ok=True)
        shutil.copy(extra, image.place(Path("/usr/local/bin", extra.name)))
        image.place(Path("/usr/local/bin", extra.name)).chmod(0o755)
    image.write("/etc/passwd", PASSWD)
    image.write("/etc/group", GROUP)
    image.write("/etc/nsswitch.conf", "hosts: files dns\n")
    for directory in ("data", "dev", "etc", "proc", "run", "sys", "tmp"):
        (root / directory).mkdir(exist_ok=True)

    packages = origins.packages_of(image.copied)
    for package in packages:
        image.write(f"/var/lib/dpkg/status.d/{package.name}", package.record)
        image.copy_notice(package.name)
    image.write("/usr/share/doc/rusd/sbom.cdx.json", sbom.document(site, packages, time))
    image.settle(time)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(os.environ["SOURCE_DATE_EPOCH"]))
