"""rusdctl beside etcdctl, on a member of rusd and on one of etcd: output and exit codes."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from rusd.ctl import command as rusdctl
from tests.support.pair import Pair, command, oracle_version

pytestmark = pytest.mark.differential

#: Digits of times, sizes and indexes, which differ from one call to the next.
VARIES = re.compile(r"took = \S+")


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    pair = Pair()
    try:
        pair.start()
        for client in (pair.rusd, pair.etcd):
            for number in range(4):
                client.put(f"key/{number}".encode(), b"value")
            client.put(b"key/2", b"\xff\x00 raw")
            client.put(b"other", b"")
        yield pair
    finally:
        pair.stop()


@pytest.fixture(scope="module", params=[0, 1], ids=["rusd", "etcd"])
def endpoint(request: pytest.FixtureRequest, pair: Pair) -> str:
    return pair.endpoints[request.param]


class Done:
    """Exit code, standard output and the error that is told."""

    def __init__(self, done: subprocess.CompletedProcess[bytes]) -> None:
        self.code = done.returncode
        self.output = done.stdout
        told = [line for line in done.stderr.decode().splitlines() if not line.startswith("{")]
        self.error = told[-1:]

    @property
    def seen(self) -> tuple[int, str, list[str]]:
        return self.code, VARIES.sub("took", self.output.decode(errors="replace")), self.error


def clean(**variables: str) -> dict[str, str]:
    kept = {name: text for name, text in os.environ.items() if not name.startswith("ETCDCTL")}
    return kept | variables


def theirs(*arguments: str, **variables: str) -> Done:
    environment = clean(**variables)
    return Done(
        subprocess.run([command("etcdctl"), *arguments], capture_output=True, env=environment)
    )


def ours(*arguments: str, **variables: str) -> Done:
    """The command in this process, which takes half the time."""
    output, error = (io.TextIOWrapper(io.BytesIO(), write_through=True) for _ in range(2))
    with redirect_stdout(output), redirect_stderr(error):
        try:
            code = rusdctl.main(arguments, variables)
        except SystemExit as end:
            code = int(str(end.code))
    written = (stream.buffer.getvalue() for stream in (output, error))
    return Done(subprocess.CompletedProcess([], code, *written))


READS = [
    "get key/0",
    "get key/ --prefix",
    "get --prefix key/ --limit 2",
    "get key/ --prefix --keys-only",
    "get --print-value-only key/ --prefix",
    "get key/1 key/3",
    "get key/2 --from-key",
    "get key/ --prefix --order=DESCEND",
    "get key/ --prefix --sort-by=MODIFY --order DESCEND",
    "get key/ --prefix --consistency=s",
    "get nothing",
    "get key/0 --rev 99999",
    "get a --prefix b",
    "get a --prefix --from-key",
    "get a b c",
    "get",
    "get key/0 -w table",
    "get key/0 -w bogus",
    "get key/0 -w json --print-value-only",
    "member list",
    "member list -w table",
    "endpoint health",
    "endpoint health --cluster",
    "endpoint status",
    "endpoint status --write-out=table",
    "alarm list",
    "alarm disarm",
    "user list",
    "put",
    "put a b c",
    "del a b c",
    "compaction",
    "compact x",
    "compact 99999",
    "move-leader",
    "move-leader 1",
    "member add",
    "member add a",
    "member add a http://localhost:1",
    "member add a --peer-urls=nothing",
    "member remove",
    "member remove 1",
    "member remove x",
    "member update 1",
    "member update x --peer-urls=http://localhost:1",
    "member update 1 --peer-urls=http://localhost:1",
    "member promote",
    "member promote 1",
    "snapshot save",
    "defrag",
    "--user=a:b get key/0",
]


@pytest.mark.parametrize("line", READS)
def test_the_output_and_the_exit_code_are_those_of_etcdctl(endpoint: str, line: str) -> None:
    words = ["--endpoints", endpoint, *line.split()]
    assert ours(*words).seen == theirs(*words).seen


JSON = ["get key/ --prefix", "get nothing", "member list", "alarm list", "user list"]
JSON += ["endpoint status", "del nothing", "endpoint health"]


@pytest.mark.parametrize("line", JSON)
def test_the_json_is_that_of_etcdctl(endpoint: str, line: str) -> None:
    words = ["--endpoints", endpoint, *line.split(), "-w", "json"]
    mine, wanted = (json.loads(one(*words).output) for one in (ours, theirs))
    assert holds(mine, wanted), (mine, wanted)


def holds(mine: Any, wanted: Any) -> bool:
    """Whether `mine` has all of `wanted`: a newer etcd has fields that the old etcdctl drops."""
    if isinstance(wanted, dict):
        return {*wanted} <= {*mine} and all(
            holds(mine[name], each) for name, each in wanted.items() if name != "took"
        )
    if isinstance(wanted, list):
        return len(mine) == len(wanted) and all(map(holds, mine, wanted))
    return type(mine) is type(wanted) and bool(mine == wanted)


def test_writes_are_told_as_etcdctl_tells_them(endpoint: str) -> None:
    flag = f"--endpoints={endpoint}"
    for line in ("put new 1", "put new 1 --prev-kv", "del new --prev-kv", "del none"):
        seen = [one(flag, *line.split()).seen for one in (ours, theirs)]
        if line.startswith("del new"):  # the second of the two finds nothing
            assert seen[0] == (0, "1\nnew\n1\n", [])
        elif line == "put new 1 --prev-kv":
            assert seen[0] == seen[1] == (0, "OK\nnew\n1\n", [])
        else:
            assert seen[0] == seen[1]
    done = subprocess.run(
        [sys.executable, "-m", "rusd.ctl", flag, "put", "piped"], input=b"\0\n", env=clean()
    )
    assert done.returncode == 0
    assert theirs(flag, "get", "piped", "--print-value-only").output == b"\0\n\n"


def test_a_snapshot_is_whole_and_is_etcds_own(endpoint: str, tmp_path: Path) -> None:
    file = tmp_path / "snapshot.db"
    done = ours("--endpoints", endpoint, "snapshot", "save", str(file))
    assert done.seen == (0, f"Snapshot saved at {file}\n", [])
    assert file.stat().st_mode & 0o077 == 0 and [*tmp_path.iterdir()] == [file]
    status = [command("rusdutl"), "snapshot", "status", str(file)]
    assert subprocess.run(status, capture_output=True).returncode == 0
    assert file.stat().st_size % 512 == 32


def test_members_are_changed_as_etcdctl_changes_them(endpoint: str) -> None:
    # (A learner, since a second voter that never starts would stop a cluster of one.)
    flag = f"--endpoints={endpoint}"
    seen = []
    for port, one in ((9991, ours), (9992, theirs)):
        url = f"http://localhost:{port}"
        added = one(flag, "member", "add", "next", "--learner", f"--peer-urls={url}")
        listed = theirs(flag, "member", "list").output.decode()
        assert url in listed, added.seen
        new = next(line.split(",")[0] for line in listed.splitlines() if url in line)
        changes = [
            added,
            one(flag, "member", "promote", new),
            one(flag, "member", "remove", new),
        ]
        texts = [done.output.decode() + "".join(done.error) for done in changes]
        # (etcdctl 3.5 does not say that it was added as a learner. The order of members varies.)
        for word, other in ((f"{int(new, 16):16x}", "NEW"), (url, "URL"), (" as learner", "")):
            texts = [text.replace(word, other) for text in texts]
        words = [sorted(re.split(r'[ ,"\n]', text)) for text in texts]
        seen.append([*zip([done.code for done in changes], words, strict=True)])
    assert seen[0] == seen[1]
    assert [code for code, _ in seen[0]] == [0, 1, 0]


def test_the_hash_of_the_keys_is_that_of_etcdctl(pair: Pair) -> None:
    # (The gateway of etcd before 3.6 has no path for it.)
    for endpoint in pair.endpoints[: 1 if oracle_version() < (3, 6) else 2]:
        words = [f"--endpoints={endpoint}", "endpoint", "hashkv"]
        mine, wanted = (one(*words, "--rev=3").output.decode() for one in (ours, theirs))
        # (etcdctl before 3.6 does not print the revision.)
        assert mine.startswith(wanted.rstrip("\n")) and mine.endswith(", 3\n")
        assert ours(*words, "--rev=99999").seen == theirs(*words, "--rev=99999").seen


def test_a_dead_endpoint_is_told_and_the_next_one_asked(endpoint: str) -> None:
    dead = "127.0.0.1:1"
    assert ours(f"--endpoints={dead},{endpoint}", "get", "key/0").output == b"key/0\nvalue\n"
    done = ours(f"--endpoints={dead}", "get", "key/0")
    assert (done.code, done.output) == (1, b"") and "refused" in done.error[0]
    for verb in ("health", "status"):
        both = f"--endpoints={dead},{endpoint}"
        mine = ours(both, "endpoint", verb)
        wanted = theirs(both, "endpoint", verb, "--command-timeout=1s")
        assert (mine.code, mine.seen[1]) == (wanted.code, wanted.seen[1])


def test_flags_come_from_variables_too(endpoint: str) -> None:
    variables = {"ETCDCTL_ENDPOINTS": endpoint, "ETCDCTL_WRITE_OUT": "json"}
    mine, wanted = (one("get", "key/0", **variables) for one in (ours, theirs))
    assert mine.output and json.loads(mine.output) == json.loads(wanted.output)


def test_unknown_verbs_and_flags_end_with_code_1() -> None:
    for line in ("nothing", "get --bogus", "--bogus", "get a --bogus"):
        assert ours(*line.split()).code == theirs(*line.split()).code == 1


#: Without a member.
USES = [
    *("", "--help", "-h", "--help=false", "--help=x", "help", "help get", "help endpoint status"),
    *(
        "help unknown",
        "help unknown --help",
        "help --unknown",
        "unknown --help",
        "-w json endpoint",
    ),
    *("--unknown --help", "--help --unknown", "--help --write-out", "--command-timeout x --help"),
    *("get --help", "get -h", "get --help=false", "get --unknown --help", "get --help --unknown"),
    *("get a b c --help", "get --help --limit x", "get --help --limit", "get --limit x --help"),
    *("get --consistency bogus --help", "get a --consistency bogus", "get a --sort-by=bogus"),
    *("get a --order bogus", "get a --command-timeout x", "get --command-timeout x --help"),
    *("endpoint", "endpoint --help", "endpoint --help=false", "endpoint unknown"),
    *("endpoint unknown a", "endpoint unknown --help", "endpoint unknown --unknown"),
    *("endpoint unknown --unknown --help", "endpoint unknown --help --unknown", "endpoint help"),
    *("endpoint --unknown --help", "member", "alarm bogus", "snapshot", "snapshot save --help"),
    *("user unknown --help", "compact --help", "version --help", "version -w bogus", "version a"),
]


@pytest.mark.parametrize("line", USES)
def test_help_and_wrong_uses_have_etcdctls_exit_codes(line: str) -> None:
    mine, wanted = (one(*line.split()) for one in (ours, theirs))
    assert mine.code == wanted.code, (mine.seen, wanted.seen)
    told = bool(mine.code) or line == "help unknown"
    assert (bool(mine.error), bool(mine.output)) == (told, not told)


def test_a_closed_connection_is_told_and_a_closed_output_ends_the_command_quietly() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        # The whole of a value cannot be sent to a member that takes nothing and is gone.
        closed = threading.Thread(target=lambda: listening.accept()[0].close())
        closed.start()
        flag = f"--endpoints=127.0.0.1:{listening.getsockname()[1]}"
        put = [sys.executable, "-m", "rusd.ctl", flag, "put", "key"]
        done = subprocess.run(put, input=bytes(16 << 20), capture_output=True, env=clean())
        closed.join()
    assert done.returncode == 1 and done.stderr.startswith(b"Error: "), done
    for room in ("ctl", "utl"):
        code = f"from rusd.{room}.command import console; console()"
        reader, writer = os.pipe()
        os.close(reader)
        with open(writer, "wb") as output:
            words = [sys.executable, "-c", code, "--help"]
            gone = subprocess.run(words, stdout=output, stderr=subprocess.PIPE, env=clean())
        assert (gone.returncode, gone.stderr) == (-signal.SIGPIPE, b"")


def test_the_command_loads_no_server() -> None:
    assert b"API version: 3." in ours("version").output
    code = "import sys, rusd.ctl.command; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"rocksdict", "aiohttp", "uvloop", "google.protobuf"} & {*done.stdout.split()}
