"""The `rusd` command: exit codes as etcd's, one line for an error, and how it ends."""

import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from rusd import ETCD_VERSION, __version__, cli
from rusd.member import process
from tests.support.ports import free_urls

ETCD = Path(sys.executable).parent / "etcd"


def environment(**variables: str) -> dict[str, str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("ETCD")}
    return clean | variables


def rusd(
    *argv: str, cwd: Path, environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rusd.cli", *argv]
    return subprocess.run(
        command, cwd=cwd, env=environ or environment(), capture_output=True, text=True, timeout=60
    )


@pytest.fixture
def _root_logger_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


# -- help and version ----------------------------------------------------------------------------


def test_help_goes_to_standard_output_and_exits_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    for word in ("-h", "--help", "-help"):
        assert cli.main([word]) == 0
        out, err = capsys.readouterr()
        assert out.startswith("Usage:") and "--initial-cluster" in out
        assert err == ""


def test_the_first_line_of_the_version_is_etcds(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"etcd Version: {ETCD_VERSION}"
    assert lines[-1] == f"rusd Version: {__version__}"
    assert all(re.fullmatch(r"[\w /]+: .+", line) for line in lines)


def test_help_and_version_load_neither_the_store_nor_grpc() -> None:
    script = (
        "import sys; from rusd.cli import main; main(['--version']);"
        "print(sorted({'grpc', 'rocksdict', 'pysyncobj'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"


# -- refusals, beside etcd -----------------------------------------------------------------------

#: For errors etcd sees only after it has bound its ports.
AT_FREE_PORTS = [
    "--listen-peer-urls=http://127.0.0.1:0",
    "--listen-client-urls=http://127.0.0.1:0",
    "--advertise-client-urls=http://127.0.0.1:1",
]
REFUSED: list[tuple[list[str], str, str]] = [
    # command line, environment as NAME=value, a word both messages share
    (["--nope"], "", "flag provided but not defined: -nope"),
    (["--heartbeat-interval", "x"], "", 'invalid value "x" for flag -heartbeat-interval'),
    (["--heartbeat-interval=-1"], "", 'invalid value "-1" for flag -heartbeat-interval'),
    (["--grpc-keepalive-min-time", "5"], "", "-grpc-keepalive-min-time: parse error"),
    (["--quota-backend-bytes", "1.5"], "", "-quota-backend-bytes: parse error"),
    (["--pre-vote=maybe"], "", 'invalid boolean value "maybe" for -pre-vote'),
    (["--name"], "", "flag needs an argument: -name"),
    (["---name", "x"], "", "bad flag syntax: ---name"),
    (["--=x"], "", "bad flag syntax: --=x"),
    (["--initial-cluster-state", "old"], "", 'invalid value "old" for flag'),
    (["--listen-client-urls", "ftp://127.0.0.1:1"], "", "URL scheme must be http, https, unix"),
    (["--listen-peer-urls", "http://127.0.0.1:1/x"], "", "URL must not contain a path"),
    (["--listen-peer-urls", "http://127.0.0.1"], "", 'does not have the form "host:port"'),
    (["--log-level", "x"], "", '"x"'),
    (["stray"], "", "is not a valid flag"),
    (["--name", "a", "stray"], "", "is not a valid flag"),
    (["--election-timeout", "400"], "", "--election-timeout[400ms]"),
    (["--election-timeout", "50001"], "", "--election-timeout[50001ms] is too long"),
    (["--heartbeat-interval", "0"], "", "--heartbeat-interval must be >0"),
    (["--listen-client-urls", "http://127.0.0.1:1"], "", "--advertise-client-urls is required"),
    (["--listen-peer-urls", "http://example.org:1"], "", "expected IP in URL for binding"),
    (["--advertise-client-urls", "http://:1"], "", 'must be "host:port"'),
    (["--auto-compaction-mode", "x"], "", 'unknown auto-compaction-mode "x"'),
    ([*AT_FREE_PORTS, "--auto-compaction-retention", "x"], "", "invalid duration"),
    (["--logger", "x"], "", 'unknown logger option "x"'),
    (["--log-outputs", "default,stderr"], "", "default"),
    (["--config-file", "/nonexistent"], "", "/nonexistent"),
    ([*AT_FREE_PORTS, "--initial-cluster", "b=http://localhost:2380"], "", 'local name "default"'),
    (
        [*AT_FREE_PORTS, "--initial-cluster", "default=http://localhost:9"],
        "",
        "but missing from --initial-adv",
    ),
    (
        [
            *AT_FREE_PORTS,
            "--initial-cluster",
            "default=http://localhost:2380,b=http://localhost:2380",
        ],
        "",
        "has duplicate url",
    ),
    ([*AT_FREE_PORTS, "--initial-cluster", "default"], "", "error setting up initial cluster"),
    (["--name", "a"], "ETCD_NAME=b", "is shadowed by"),
    ([], "ETCD_HEARTBEAT_INTERVAL=x", 'invalid value "x" for ETCD_HEARTBEAT_INTERVAL'),
    ([], "ETCD_ELECTION_TIMEOUT=4", "--election-timeout[4ms]"),
]


@pytest.mark.parametrize(("argv", "variable", "word"), REFUSED)
def test_a_bad_configuration_is_refused_with_etcds_exit_code(
    argv: list[str],
    variable: str,
    word: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    environ = environment(**dict([variable.split("=")] if variable else []))
    (tmp_path / "etcd").mkdir()
    etcd = subprocess.run(
        [ETCD, *argv],
        cwd=tmp_path / "etcd",
        env=environ,
        capture_output=True,
        text=True,
        timeout=30,
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", environ)
    code = cli.main(argv)
    out, err = capsys.readouterr()
    assert code == etcd.returncode
    assert word in etcd.stderr.replace('\\"', '"').replace("'stray'", '"stray"')
    assert word in err
    assert out == ""
    assert err.startswith("rusd: ") and err.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("name: [a", "YAML"),
        ("heartbeat-interval: x", "heartbeat-interval"),
        ("election-timeout: 3", "--election-timeout[3ms]"),
        ("listen-client-urls: ftp://a", "URL scheme must be http, https, unix"),
        ("initial-cluster: default", "error setting up initial cluster"),
    ],
)
def test_a_bad_file_is_refused_with_etcds_exit_code(
    text: str,
    word: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "c.yaml").write_text(
        f"listen-peer-urls: http://127.0.0.1:0\nlisten-client-urls: http://127.0.0.1:0\n{text}\n"
        if text.startswith("initial")
        else text
    )
    argv = ["--config-file", str(tmp_path / "c.yaml")]
    etcd = subprocess.run(
        [ETCD, *argv], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=30
    )
    monkeypatch.chdir(tmp_path)
    shutil.rmtree("default.etcd", ignore_errors=True)
    assert cli.main(argv) == etcd.returncode == 1
    assert word in etcd.stderr
    err = capsys.readouterr().err
    assert word in err and err.count("\n") == 1


@pytest.mark.usefixtures("_root_logger_as_before")
def test_an_initialised_member_ignores_its_initial_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["--data-dir", str(tmp_path), "--initial-cluster", "b=http://localhost:1"]
    assert cli.main(argv) == 1
    assert "local name" in capsys.readouterr().err
    (tmp_path / "member").mkdir()
    (tmp_path / "member" / "identity").write_text("1 2")
    started: list[object] = []

    def run(config: object) -> int:
        started.append(config)
        return 0

    monkeypatch.setattr(process, "serve", run)
    assert cli.main([*argv, "--log-outputs", "/dev/null"]) == 0
    assert len(started) == 1


def test_a_log_that_cannot_be_opened_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "none" / "log"
    assert cli.main(["--data-dir", str(tmp_path), "--log-outputs", str(path)]) == 1
    err = capsys.readouterr().err
    assert err.startswith("rusd: cannot write the log") and err.count("\n") == 1


# -- life of a process ---------------------------------------------------------------------------

#: A member that tells what is asked of it; `{start}`, `{wait}` and `{stop}` are filled in.
SCRIPT = """
import asyncio, sys
from rusd.base import logs
from rusd.member.process import run
logs.configure("info", "json", ["default"])

class Told:
    async def start(self):
        print("start", flush=True)
        {start}
    async def wait_failed(self):
        print("serving", flush=True)
        {wait}
    async def stop(self):
        print("stop", flush=True)
        {stop}

sys.exit(run(Told))
"""
FOREVER = "await asyncio.sleep(3600)"


def spawn(start: str = "pass", wait: str = FOREVER, stop: str = "pass") -> subprocess.Popen[str]:
    script = SCRIPT.format(start=start, wait=wait, stop=stop)
    return subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def read_until(process: subprocess.Popen[str], word: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == word:
            return
    raise AssertionError(f"ended without {word!r}")


def errors(log: str) -> list[dict[str, object]]:
    return [line for line in map(json.loads, log.splitlines()) if line["level"] == "fatal"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_member_in_order(number: signal.Signals) -> None:
    with spawn() as process:
        read_until(process, "serving")
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert out == "stop\n"
    assert number.name in err


def test_a_signal_during_the_start_stops_the_member_too() -> None:
    with spawn(start=FOREVER) as process:
        read_until(process, "start")
        process.terminate()
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert out == "stop\n"
    assert errors(err) == []


def test_further_signals_change_nothing_while_a_member_stops() -> None:
    """As in etcd: supervisors and terminals often send two."""
    with spawn(stop="await asyncio.to_thread(sys.stdin.readline); print('done')") as process:
        read_until(process, "serving")
        process.terminate()
        read_until(process, "stop")
        for number in (signal.SIGTERM, signal.SIGINT):
            process.send_signal(number)
            assert process.stderr is not None
            assert any(
                f'already shutting down","signal":"{number.name}"' in x for x in process.stderr
            )
        out, err = process.communicate("\n", timeout=30)
    assert process.returncode == 0
    assert out == "done\n"
    assert err == ""


def test_what_an_interrupted_start_ends_with_is_no_failure() -> None:
    start = "\n".join(
        (
            "try: await asyncio.sleep(3600)",
            "        except asyncio.CancelledError: raise OSError('half way') from None",
        )
    )
    with spawn(start=start) as process:
        read_until(process, "start")
        process.terminate()
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert out == "stop\n"
    assert errors(err) == [] and "half way" in err


def test_a_signal_while_the_member_is_built_keeps_it_from_starting() -> None:
    script = SCRIPT.format(start="pass", wait="pass", stop="pass")
    made = "Told.__init__ = lambda self: __import__('os').kill(__import__('os').getpid(), 15)\n"
    script = script.replace("\nsys.exit", f"\n{made}sys.exit")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "stop\n")


def test_a_start_that_fails_is_one_line_and_exit_code_1() -> None:
    with spawn(start="raise OSError('address already in use')") as process:
        out, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert out == "start\nstop\n"
    [line] = errors(err)
    assert line["error"] == "address already in use"
    assert "stacktrace" not in line


def test_a_member_that_fails_while_it_serves_ends_the_process_with_its_trace() -> None:
    with spawn(wait="raise AssertionError('applied index went back')") as process:
        _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    [line] = errors(err)
    assert line["error"] == "applied index went back"
    assert "AssertionError" in str(line["stacktrace"])


def test_a_member_that_cannot_stop_after_a_failure_does_not_hide_the_failure() -> None:
    with spawn(start="raise OSError('first')", stop="raise OSError('second')") as process:
        _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert [line["error"] for line in errors(err)] == ["first"]


def test_a_stop_that_fails_is_exit_code_1() -> None:
    with spawn(stop="raise OSError('journal')") as process:
        read_until(process, "serving")
        process.terminate()
        _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert [line["error"] for line in errors(err)] == ["journal"]


# -- the whole member ----------------------------------------------------------------------------


def member_flags(data_dir: Path) -> list[str]:
    client, peer = free_urls(2)
    return [
        *("--name", "a", "--data-dir", str(data_dir), "--initial-cluster", f"a={peer}"),
        *("--listen-client-urls", client, "--advertise-client-urls", client),
        *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
    ]


def test_a_member_serves_until_it_is_told_to_stop_and_no_other_may_use_its_data(
    tmp_path: Path,
) -> None:
    command = [sys.executable, "-m", "rusd.cli", *member_flags(tmp_path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            assert any("ready to serve client requests" in line for line in process.stderr)
            other = rusd(*member_flags(tmp_path), cwd=tmp_path)
        finally:
            process.terminate()
            rest = process.stderr.read()
    assert process.returncode == 0, rest
    assert other.returncode == 1
    [line] = errors(other.stderr)
    assert str(tmp_path) in str(line["error"])
    assert "stacktrace" not in line


def test_a_data_directory_that_cannot_be_looked_into_is_named(tmp_path: Path) -> None:
    done = rusd(f"--data-dir={'x' * 300}", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("rusd: cannot access data directory: ")
    assert "log" not in done.stderr
