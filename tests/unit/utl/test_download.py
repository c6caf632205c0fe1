"""The snapshot of an endpoint that is not what it should be."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import grpc
import pytest

from cluster.certificates import Authority, Identity
from rusd.backup.errors import SnapshotError
from rusd.utl.command import main
from rusd.utl.download import Progress, Source, download
from tests.unit.backup.test_restore import sound
from tests.unit.bbolt.files import make

CONTENT = make(sound())
WHOLE = [CONTENT, hashlib.sha256(CONTENT).digest()]


@contextmanager
def endpoint(blobs: list[bytes], identity: Identity | None = None) -> Iterator[str]:
    """An endpoint that answers every read, and sends `blobs` as its snapshot; then it fails if the
    last of them is empty. Yields its port.
    """

    def snapshot(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        for blob in blobs:
            if not blob:
                context.abort(grpc.StatusCode.DATA_LOSS, "enough")
            yield b"\x1a" + varint(len(blob)) + blob

    kv = {"Range": grpc.unary_unary_rpc_method_handler(lambda request, context: b"")}
    maintenance = {"Snapshot": grpc.unary_stream_rpc_method_handler(snapshot)}
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler("etcdserverpb.KV", kv),
            grpc.method_handlers_generic_handler("etcdserverpb.Maintenance", maintenance),
        )
    )
    if identity is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        pair = (identity.key.read_bytes(), identity.cert.read_bytes())
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
    server.start()
    try:
        yield str(port)
    finally:
        server.stop(None).wait()


def varint(number: int) -> bytes:
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def source(
    *urls: str, ca: Path | None = None, cert: Path | None = None, key: Path | None = None
) -> Source:
    return Source(list(urls), ca, cert, key, "", "")


@pytest.mark.parametrize(
    ("blobs", "said"),
    [
        ([CONTENT, bytes(32)], "expected sha256"),
        ([CONTENT], "missing hash"),
        ([CONTENT[:-4096], WHOLE[1]], "expected sha256"),
        ([], "is empty"),
        ([*WHOLE, b""], "DATA_LOSS: enough"),
        ([bytes(5 << 20)], "RESOURCE_EXHAUSTED"),
    ],
)
def test_a_snapshot_that_is_not_whole_makes_nothing(
    blobs: list[bytes], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with endpoint(blobs) as port:
        url = f"http://127.0.0.1:{port}"
        assert main(["migrate", "--from-endpoint", url, "--data-dir", str(tmp_path / "new")]) == 1
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_next_endpoint_replaces_what_one_that_failed_had_sent(tmp_path: Path) -> None:
    file = tmp_path / "file"
    with endpoint([bytes(1 << 20), b""]) as bad, endpoint(WHOLE) as good:
        urls = [f"http://127.0.0.1:{port}" for port in (bad, good)]
        assert download(source(*urls), file, Progress()) == urls[1]
    assert file.read_bytes() == b"".join(WHOLE)
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("fault", ["host", "expired", "authority", "system", "plain"])
def test_an_endpoint_that_cannot_prove_what_it_is_gets_no_call(fault: str, tmp_path: Path) -> None:
    authority, other = Authority(tmp_path), Authority(tmp_path, "other")
    hosts = ["localhost"] if fault == "host" else ["127.0.0.1"]
    valid = timedelta(days=-1 if fault == "expired" else 1)
    identity = authority.issue("server", hosts, valid=valid)
    trusted = {"authority": other.cert, "system": None}.get(fault, authority.cert)
    with (
        endpoint(WHOLE, None if fault == "plain" else identity) as port,
        pytest.raises(SnapshotError, match="UNAVAILABLE"),
    ):
        download(source(f"https://127.0.0.1:{port}", ca=trusted), tmp_path / "file", Progress())
    assert not (tmp_path / "file").exists()


def test_certificates_that_cannot_be_used_are_refused_before_a_call(tmp_path: Path) -> None:
    identity, empty = Authority(tmp_path).issue("client"), tmp_path / "empty"
    empty.touch()
    for said, one in (
        ("together", source("https://127.0.0.1:1", cert=identity.cert)),
        ("together", source("https://127.0.0.1:1", key=identity.key)),
        ("is empty", source("https://127.0.0.1:1", ca=empty)),
        ("without TLS", source("http://127.0.0.1:1", ca=identity.cert)),
    ):
        with pytest.raises(SnapshotError, match=said):
            download(one, tmp_path / "file", Progress())
