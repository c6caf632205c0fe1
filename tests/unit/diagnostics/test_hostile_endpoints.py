"""doctor, top and explain at endpoints that answer anything: the command ends, soon, in words."""

from __future__ import annotations

import json
import resource
import shlex
import socket
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from rusd.ctl.gateway import Access, CallError, Gateway, Unreachable
from rusd.diagnostics import command
from rusd.diagnostics.asking import Endpoint, all_secure, tried
from rusd.diagnostics.exposition import parse

#: Seconds in which a command must end: its questions are bounded by the flags below.
BOUND = 20.0
FLAGS = ("--command-timeout=500ms", "--dial-timeout=500ms")
ESCAPE = "\x1b]0;owned\x07\x1b[2J"

Answer = bytes | Callable[[Any], None]
HEADER = {"cluster_id": "7", "member_id": "1", "revision": "9"}
STATUS = {"header": HEADER, "version": "3.7.3", "leader": "1", "raftTerm": "2", "raftIndex": "5"}


def plain() -> dict[str, Answer]:
    """What an honest member answers, by path."""
    member = {"ID": "1", "name": "m1", "clientURLs": [], "peerURLs": []}
    return {
        "/v3/maintenance/status": encoded(STATUS),
        "/v3/cluster/member/list": encoded({"members": [member]}),
        "/v3/maintenance/alarm": encoded({"alarms": []}),
        "/v3/auth/status": encoded({}),
        "/v3/lease/leases": encoded({}),
        "/v3/maintenance/hashkv": encoded({"hash": 5}),
        "/v3/kv/range": encoded({"header": HEADER}),
        "/health": encoded({"health": "true"}),
        "/version": encoded({"etcdserver": "3.7.3"}),
        "/metrics": b"etcd_debugging_mvcc_slow_watcher_total 0\n",
    }


def encoded(answer: object) -> bytes:
    return json.dumps(answer).encode()


@contextmanager
def serving(answers: dict[str, Answer]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            found = answers.get(self.path)
            if callable(found):
                with suppress(OSError):
                    found(self)
                self.close_connection = True
                return
            self.send_response(404 if found is None else 200)
            self.send_header("Content-Length", str(len(found or b"")))
            self.end_headers()
            self.wfile.write(found or b"")

        do_GET = do_POST = answer

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def endless(handler: Any) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        handler.wfile.write(b"etcd_a 1\n" * 10_000)


def dribble(handler: Any) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while True:
        handler.wfile.write(b"e")
        time.sleep(0.05)


def slow_head(handler: Any) -> None:
    while True:
        handler.wfile.write(b"H")
        time.sleep(0.05)


def members(*urls: str, name: str = "m1") -> bytes:
    return encoded({"members": [{"ID": "1", "name": name, "clientURLs": urls, "peerURLs": urls}]})


#: Name, path, and what is answered there.
ANSWERS: list[tuple[str, str, Answer]] = [
    ("endless metrics", "/metrics", endless),
    ("an endless status", "/v3/maintenance/status", endless),
    ("metrics byte by byte", "/metrics", dribble),
    ("a status byte by byte", "/v3/maintenance/status", dribble),
    ("a head byte by byte", "/v3/maintenance/status", slow_head),
    ("a label without end", "/metrics", b"etcd_a{" + b"a" * 2_000_000 + b"} 1\n"),
    ("many long labels", "/metrics", (b"etcd_a{" + b"a" * 4000 + b"} 1\n") * 3000),
    ("deep JSON", "/v3/maintenance/status", b"[" * 200_000),
    ("deep health", "/health", b'{"health":' + b"[" * 50_000),
    ("deep version", "/version", b"[" * 50_000),
    ("numbers beyond float", "/v3/maintenance/status", encoded(STATUS | {"dbSize": "9" * 400})),
    ("an infinite number", "/v3/maintenance/status", b'{"dbSize":1e999}'),
    ("errors that are no text", "/v3/maintenance/status", encoded(STATUS | {"errors": [1, None]})),
    ("a long version", "/v3/maintenance/status", encoded(STATUS | {"version": "9" * 9000 + ".1"})),
    ("no number", "/metrics", b"etcd_server_quota_backend_bytes NaN\nprocess_open_fds +Inf\n"),
    ("a bucket without bound", "/metrics", b"etcd_disk_wal_fsync_duration_seconds_bucket{} 500\n"),
    ("a peer without id", "/metrics", b"".join(
        b'etcd_network_peer_round_trip_time_seconds_%s{To="%s",le="9"} 99\n' % (kind, b"-x")
        for kind in (b"bucket", b"count")
    )),
    ("URLs that are none", "/v3/cluster/member/list", members("http://[", "http://\x1b:1", "-")),
    ("a host too long", "/v3/cluster/member/list", members(f"http://{'a' * 80}.b:1")),
    ("URLs of other types", "/v3/cluster/member/list", b'{"members":[{"ID":1,"clientURLs":[7]}]}'),
    ("members without end", "/v3/cluster/member/list", encoded({"members": [{"ID": "1"}] * 9000})),
]  # fmt: skip


def run(*words: str) -> int:
    begun = time.monotonic()
    code = command.main([*words, *FLAGS], {})
    assert time.monotonic() - begun < BOUND
    return code


@pytest.mark.parametrize(
    ("path", "answer"), [one[1:] for one in ANSWERS], ids=[a[0] for a in ANSWERS]
)
def test_doctor_and_top_say_of_any_answer_that_it_is_none(
    path: str, answer: Answer, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(plain() | {path: answer}) as url:
        assert run("doctor", "--interval=50ms", url) in (0, 1, 2)
        assert run("top", "--once", "--interval=50ms", url) in (0, 1)
    out, err = capsys.readouterr()
    assert "Traceback" not in err and "\x1b" not in out + err


def test_an_endless_answer_takes_little_memory() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with serving(plain() | {"/metrics": endless, "/version": endless, "/health": endless}) as url:
        run("doctor", "--interval=50ms", url)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB


def watch(*lines: object) -> Answer:
    def answer(handler: Any) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        for line in lines:
            handler.wfile.write(line if isinstance(line, bytes) else encoded(line) + b"\n")

    return answer


@pytest.mark.parametrize(
    "lines",
    [
        ("[]",),
        ({"result": []},),
        ({"error": {"message": ESCAPE}},),
        ({"result": {"canceled": True, "cancel_reason": ESCAPE}},),
        ({"result": {"events": [{"kv": {"mod_revision": "x"}}]}},),
        (b"[" * 100_000 + b"\n",),
    ],
)
def test_explain_says_of_any_stream_that_it_is_none(
    lines: tuple[object, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(plain() | {"/v3/watch": watch(*lines)}) as url:
        assert run("explain", "app", f"--endpoints={url}") == command.FAILED
    out, err = capsys.readouterr()
    assert err.startswith("Error: ") and "\x1b" not in out + err


def test_explain_says_of_any_range_that_it_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(plain() | {"/v3/kv/range": encoded({"kvs": [{}]})}) as url:
        assert run("explain", "app", f"--endpoints={url}") == command.FAILED
    assert "not etcd's" in capsys.readouterr().err


def test_nothing_that_a_member_says_changes_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = plain() | {
        "/v3/maintenance/status": encoded(STATUS | {"version": ESCAPE, "errors": [ESCAPE]}),
        "/v3/cluster/member/list": members(f"http://127.0.0.1:1/{ESCAPE}", name=ESCAPE),
        "/v3/maintenance/alarm": encoded({"alarms": [{"memberID": "1", "alarm": ESCAPE}]}),
        "/health": encoded({"health": ESCAPE, "reason": ESCAPE}),
        "/v3/auth/status": lambda handler: handler.wfile.write(
            b"HTTP/1.1 500 x\r\n\r\n" + encoded({"message": ESCAPE})
        ),
        "/v3/kv/range": encoded(
            {"header": HEADER, "count": "1", "kvs": [{
                "key": b64encode(ESCAPE.encode()).decode(), "mod_revision": "9",
                "value": b64encode(ESCAPE.encode()).decode(),
            }]}
        ),
        "/v3/watch": watch({"result": {"created": True, "events": [{"kv": {
            "key": b64encode(ESCAPE.encode()).decode(), "mod_revision": "9", "version": "1",
            "value": b64encode(ESCAPE.encode()).decode(),
        }}]}}),
    }  # fmt: skip
    with serving(said) as url:
        run("doctor", "--interval=50ms", url)
        run("top", "--once", "--interval=50ms", url)
        run("explain", "app", f"--endpoints={url}")
        run("explain", "9", f"--endpoints={url}")
    out, err = capsys.readouterr()
    assert "owned" in out and "\x1b" not in out + err and "\x07" not in out + err


def test_a_command_line_to_copy_runs_no_other_command(capsys: pytest.CaptureFixture[str]) -> None:
    """The URL of a member that answers is its own word."""
    answers = plain()
    with serving(answers) as url:
        evil = f"{url}/; $(touch owned) 'x"
        other = members(evil).replace(b'"ID": "1"', b'"ID": "2"')
        answers["/v3/cluster/member/list"] = other
        answers["/v3/maintenance/alarm"] = encoded(
            {"alarms": [{"memberID": "1", "alarm": "NOSPACE"}]}
        )
        run("doctor", "--interval=50ms", evil)
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    commands = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    assert commands
    for line in commands:
        assert shlex.split(line)[1] == f"--endpoints={evil}", line


def test_addresses_of_a_list_are_not_asked_without_tls_beside_endpoints_that_have_it() -> None:
    assert all_secure(["https://a:1"], Access()) and all_secure(["a:1"], Access(cacert="ca.pem"))
    assert not all_secure(["https://a:1", "http://b:1"], Access())
    assert not all_secure(["a:1"], Access())
    asked: list[str] = []

    def login(handler: Any) -> None:
        asked.append(handler.path)
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n" + encoded({"token": "t"}))

    with serving(plain() | {"/v3/auth/authenticate": login}) as url:
        user = Access(user="root", password="secret", tls_only=True)
        status, error = tried(Endpoint(url, user).status)
        assert status is None and "without TLS" in error and not asked
        assert tried(Endpoint(url, user._replace(tls_only=False)).status)[0] is not None
        assert asked


def test_an_answer_byte_by_byte_ends_at_the_timeout() -> None:
    with serving(plain() | {"/v3/maintenance/status": dribble}) as url:
        begun = time.monotonic()
        with pytest.raises(Unreachable, match="deadline exceeded"):
            Gateway([url], Access(timeout=0.5)).call("maintenance/status", {})
        assert time.monotonic() - begun < 10


def test_a_response_ends_at_its_size_and_not_before() -> None:
    answer = encoded({"kvs": ["x" * 1000]})
    with serving(plain() | {"/v3/kv/range": answer}) as url:
        assert Gateway([url], Access(), len(answer)).call("kv/range", {})["kvs"]
        with pytest.raises(CallError, match="more than"):
            Gateway([url], Access(), len(answer) - 1).call("kv/range", {})


def test_a_handshake_byte_by_byte_ends_at_the_timeout() -> None:
    from rusd.diagnostics.doctor import certificates

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def send() -> None:
            connected, _ = listener.accept()
            with connected:
                connected.sendall(b"\x16\x03\x03\x40\x00")
                try:
                    while True:
                        connected.sendall(b"\x02")
                        time.sleep(0.05)
                except OSError:
                    pass

        thread = threading.Thread(target=send, daemon=True)
        thread.start()
        begun = time.monotonic()
        with pytest.raises(OSError):
            url = f"https://127.0.0.1:{listener.getsockname()[1]}"
            certificates.of_address(url, Access(timeout=0.5))
        assert time.monotonic() - begun < 10
        thread.join(10)


def test_labels_are_read_in_linear_time() -> None:
    begun = time.process_time()
    parse("\n".join(f"etcd_a{{{'a' * 4000}}} 1" for _ in range(3000)))
    assert time.process_time() - begun < 5


def test_explain_names_each_endpoint_that_does_not_answer(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command.main(["explain", "--endpoints", "127.0.0.1:1,127.0.0.1:2", "a"], {}) == 1
    told = capsys.readouterr().err
    assert "127.0.0.1:1: connection refused" in told
    assert "127.0.0.1:2: connection refused" in told
