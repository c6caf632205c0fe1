"""The snapshot of a running etcd, or rusd, by `Maintenance.Snapshot`.

A linearizable read comes first: the member that answers has applied everything that was
acknowledged before. A member without a quorum is not asked, since it may lack the newest writes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from rusd.backup.errors import SnapshotError
from rusd.proto import rpc_pb2 as rpc

try:
    import grpc
except ImportError as _missing:
    raise SnapshotError(
        "--from-endpoint needs the package grpcio: pip install 'rusd[migrate]'"
    ) from _missing

#: Seconds for each call but the snapshot, and between the signs of life of a silent endpoint.
_TIMEOUT: Final = 10
_OPTIONS: Final = [
    ("grpc.enable_http_proxy", 0),
    ("grpc.keepalive_time_ms", _TIMEOUT * 1000),
    ("grpc.keepalive_timeout_ms", _TIMEOUT * 1000),
]


class Source(NamedTuple):
    """Where the state is, and what is needed to get it."""

    #: URLs, or host:port.
    endpoints: list[str]
    cacert: Path | None
    cert: Path | None
    key: Path | None
    user: str
    password: str


class Progress:
    """How much of a snapshot has come."""

    def __init__(self) -> None:
        self._size = self._left = 0

    def came(self, size: int, left: int) -> None:
        """Count `size` bytes that came, with `left` to come."""
        self._size, self._left = self._size + size, left

    def part(self) -> float:
        """Return how much has come, from 0 to 1."""
        return self._size / (self._size + self._left or 1)


def download(source: Source, file: Path, progress: Progress) -> str:
    """Write the snapshot of the first endpoint that answers to `file`; return that endpoint.

    The file ends with its SHA-256, which `open_snapshot` compares. Raises SnapshotError, OSError.
    """
    failures = []
    for endpoint in source.endpoints:
        try:
            with _connection(source, endpoint) as channel:
                metadata = _log_in(channel, source)
                read = rpc.RangeRequest(key=b"\0", range_end=b"\0", count_only=True)
                _call(channel, "KV/Range", read, rpc.RangeResponse, metadata)
                _receive(channel, metadata, file, progress)
        except grpc.RpcError as error:
            failures.append(f"{endpoint}: {error.code().name}: {error.details()}")
            continue
        return endpoint
    raise SnapshotError("; ".join(failures))


@contextmanager
def _connection(source: Source, endpoint: str) -> Iterator[grpc.Channel]:
    scheme, _, address = endpoint.rpartition("://")
    address = urlsplit(f"//{address}").netloc
    if scheme not in ("", "http", "https") or not address:
        raise SnapshotError(f"{endpoint!r} is no URL of an endpoint")
    files = (source.cacert, source.key, source.cert)
    if bool(source.cert) != bool(source.key):
        raise SnapshotError("--cert and --key must be given together")
    if scheme == "http" and any(files):
        raise SnapshotError(f"{endpoint} is without TLS: no --cacert, --cert or --key goes with it")
    if scheme == "https" or (scheme == "" and any(files)):
        parts = [None if one is None else one.read_bytes() for one in files]
        if b"" in parts:
            # (gRPC would take an empty --cacert for none, and trust all authorities that it knows.)
            raise SnapshotError("the file of --cacert, --cert or --key is empty")
        channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(*parts), _OPTIONS)
    else:
        channel = grpc.insecure_channel(address, _OPTIONS)
    with channel:
        yield channel


def _log_in(channel: grpc.Channel, source: Source) -> tuple[tuple[str, str], ...]:
    """Return the metadata of calls as the user, empty without one."""
    if not source.user:
        return ()
    request = rpc.AuthenticateRequest(name=source.user, password=source.password)
    answer = _call(channel, "Auth/Authenticate", request, rpc.AuthenticateResponse, ())
    return (("token", answer.token),)


def _call(
    channel: grpc.Channel,
    method: str,
    request: Any,
    answer: Any,
    metadata: tuple[tuple[str, str], ...],
) -> Any:
    call = channel.unary_unary(
        f"/etcdserverpb.{method}",
        request_serializer=type(request).SerializeToString,
        response_deserializer=answer.FromString,
    )
    return call(request, timeout=_TIMEOUT, metadata=metadata)


def _receive(
    channel: grpc.Channel, metadata: tuple[tuple[str, str], ...], file: Path, progress: Progress
) -> None:
    call = channel.unary_stream(
        "/etcdserverpb.Maintenance/Snapshot",
        request_serializer=rpc.SnapshotRequest.SerializeToString,
        response_deserializer=rpc.SnapshotResponse.FromString,
    )
    # (0o600: the file holds every key, and the hashes of the passwords.)
    file.touch(mode=0o600)
    with file.open("wb") as out:
        for answer in call(rpc.SnapshotRequest(), metadata=metadata):
            out.write(answer.blob)
            progress.came(len(answer.blob), answer.remaining_bytes)
