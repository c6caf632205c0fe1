"""Installs clients below `build/clients` and gives the commands that run their programs."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.clients import results

SOURCES = Path(__file__).parent
BUILT = SOURCES.parents[1] / "build" / "clients"
#: Seconds an installation may take, and a program: a quiet machine takes minutes, a busy one many
#: times as long.
INSTALL_TIMEOUT, RUN_TIMEOUT = 3600, 1800

#: Install Python packages; the manifest is a `requirements.txt`.
PYTHON = (
    (sys.executable, "-m", "venv", "venv"),
    ("venv/bin/python", "-m", "pip", "install", "--quiet", "-r", "requirements.txt"),
)

#: Put the source of the first requirement in the directory `suite`. (pip asks the source for its
#: metadata. What that needs comes ready made: a build of maturin takes a quarter of an hour.)
UNPACK = """
package=$(head -n 1 requirements.txt)
venv/bin/python -m pip download --quiet --no-deps --no-binary "${package%%==*}" --dest source \\
  "$package" &&
mkdir suite && tar -xzf source/*.tar.gz -C suite --strip-components 1
"""
#: Replace the constant endpoint of etcd-client's tests, and compile what they need.
TESTS_OF_RUST = """
cd vendor/etcd-client &&
sed -i '/DEFAULT_TEST_ENDPOINT/s/"localhost:2379"/env!("ENDPOINT")/' tests/testing.rs &&
ENDPOINT=none cargo test --quiet --locked --no-run --test client --test namespace
"""


def installed(manifest: Path, place: Path, commands: Sequence[Sequence[str]]) -> Path:
    """Run `commands` in `place`, on a copy of the manifest's directory, unless this very manifest
    is installed there; returns the place. FileNotFoundError names the tool (npm, mvn, go) that this
    machine lacks.
    """
    wanted = hashlib.sha256(manifest.read_bytes() + repr(commands).encode()).hexdigest()
    stamp = place / "installed"
    if stamp.exists() and stamp.read_text() == wanted:
        return place
    shutil.rmtree(place, ignore_errors=True)
    _copy(manifest.parent, place)
    for command in commands:
        done = _run(command, place, INSTALL_TIMEOUT)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    stamp.write_text(wanted)
    return place


def _run(
    command: Sequence[str], place: Path, timeout: float, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; at `timeout` with all processes that it has started."""
    with subprocess.Popen(
        command,
        cwd=place,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            output, errors = process.communicate(timeout=timeout)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


def _copy(source: Path, place: Path, but: str = "__pycache__") -> None:
    ignored = shutil.ignore_patterns("__pycache__", but)
    shutil.copytree(source, place, dirs_exist_ok=True, ignore=ignored)


@dataclass(frozen=True)
class Client:
    """A client library and its programs."""

    #: Name of its directory.
    name: str
    #: Says which version is installed.
    manifest: str
    #: Commands that install it, run where the manifest lies.
    install: Sequence[Sequence[str]]
    #: Command that runs a program, given the place where it is installed and the program.
    run: Callable[[Path, str], Sequence[str]]
    #: Reads the result of each test from the output.
    read: results.Reader = results.of_lines
    #: Scripts of ours match this pattern; without one the only program is the client's own suite.
    scripts: str = ""
    #: Members of the cluster that it runs on, and their flags.
    members: int = 1
    flags: Sequence[str] = ()
    #: It sends tokens over TLS alone; its programs then find the authority's file in CA.
    tls: bool = False
    #: Tests that fail on etcd 3.7.3 as well.
    fails_on_etcd: frozenset[str] = frozenset()

    @property
    def programs(self) -> list[str]:
        """Scripts, or the suite."""
        found = sorted(path.name for path in (SOURCES / self.name).glob(self.scripts or "-"))
        return found or ["suite"]

    def installed(self) -> Path:
        """Returns the place where it is installed, with its programs as they are now."""
        source = SOURCES / self.name
        place = installed(source / self.manifest, BUILT / self.name, self.install)
        # (Node and Java look for packages from the script's directory on. What an installation
        # added to the manifest stays.)
        _copy(source, place, but=self.manifest)
        return place

    def outcome(self, program: str, environment: dict[str, str]) -> results.Results:
        """The result of each test of a program."""
        place = self.installed()
        done = _run(self.run(place, program), place, RUN_TIMEOUT, {**os.environ, **environment})
        found = self.read(done.stdout)
        said = f"{self.name} {program}\n{done.stdout}\n{done.stderr}"
        assert found, said
        # (A runner's status says that a test failed, which the results say as well.)
        assert self.read is not results.of_lines or done.returncode == 0, said
        return found


def _python(name: str, *, tls: bool = False, members: int = 1) -> Client:
    return Client(
        name,
        "requirements.txt",
        PYTHON,
        lambda place, program: [str(place / "venv" / "bin" / "python"), program],
        scripts="*.py",
        members=members,
        tls=tls,
    )


def _suite(place: Path, program: str) -> list[str]:
    return ["sh", program]


def _python_suite(
    name: str,
    *,
    fails_on_etcd: frozenset[str] = frozenset(),
) -> Client:
    """A client whose package has its tests; the first line of the requirements names it."""
    return Client(
        name,
        "requirements.txt",
        (*PYTHON, ("sh", "-c", UNPACK)),
        _suite,
        results.of_pytest,
        scripts="suite.sh",
        fails_on_etcd=fails_on_etcd,
    )


CLIENTS = [
    Client(
        "go_client",
        "go.mod",
        [["go", "mod", "tidy"]],
        lambda place, program: [
            "go",
            "test",
            "-mod=mod",
            "-json",
            "-count=1",
            "-timeout=380s",
            ".",
        ],
        results.of_go,
        members=3,
        flags=["--auth-token-ttl=1", "--watch-progress-notify-interval=500ms"],
    ),
    Client(
        "npm_etcd3",
        "package.json",
        [["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund"]],
        lambda place, program: ["node", program],
        scripts="*.cjs",
    ),
    Client(
        "jetcd",
        "pom.xml",
        [["mvn", "-B", "-q", "dependency:copy-dependencies", "-DoutputDirectory=jars"]],
        lambda place, program: ["java", "-cp", f"{place}/jars/*", program],
        scripts="*.java",
    ),
    _python("aetcd"),
    _python("apisix"),
    _python("etcd3aio", members=3),
    _python("openstack"),
    _python("python_etcd3", tls=True),
    _python_suite("etcd_client_py"),
    _python_suite("etcetra"),
    _python_suite(
        "python_etcd3_suite",
        fails_on_etcd=frozenset(
            {
                # Stop and count processes that pifpaf started.
                "tests/test_etcd3.py::TestEtcd3::test_get_key_serializable",
                "tests/test_etcd3.py::TestEtcd3::test_get_prefix_serializable",
                "tests/test_etcd3.py::TestEtcd3::test_member_list",
                # Imports a module that the package lacks.
                "tests/test_etcd3.py::TestClient::test_user_pwd_auth",
            }
        ),
    ),
    Client(
        "rust",
        "Cargo.toml",
        [["cargo", "vendor", "--quiet", "vendor"], ["sh", "-c", TESTS_OF_RUST]],
        _suite,
        results.of_cargo,
        scripts="suite.sh",
        # Tokens expire within a test, and a range of 150 kB is streamed in parts.
        flags=["--auth-token-ttl=2", "--max-request-bytes=10240"],
    ),
]
