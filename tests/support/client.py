"""A thin etcd client on grpcio: full method paths, the generated messages, nothing else.

grpcio is another implementation of gRPC than the server's door, so every call also shows that the
door speaks real gRPC. Answers are messages; refusals are `Refused(code, message)`.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Generic, TypeVar

import grpc
from google.protobuf.message import Message

from rusd.proto import rpc_pb2 as rpc

Answer = TypeVar("Answer", bound=Message)

#: Seconds after which a call that should be quick has failed its test.
TIMEOUT = 15.0


class Refused(Exception):
    """A gRPC status other than OK."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Refused) and (self.code, self.message) == (
            other.code,
            other.message,
        )

    def __hash__(self) -> int:
        return hash((self.code, self.message))


def refusal(error: grpc.RpcError) -> Refused:
    """Convert an error of grpcio."""
    return Refused(error.code().name, error.details() or "")


class Client:
    """One connection to one member."""

    def __init__(self, endpoint: str, *, metadata: dict[str, str] | None = None) -> None:
        """`endpoint`: "127.0.0.1:2379"."""
        self.endpoint = endpoint
        self.metadata = tuple((metadata or {}).items())
        self.channel = grpc.insecure_channel(
            endpoint,
            options=[
                ("grpc.max_receive_message_length", -1),
                ("grpc.max_send_message_length", -1),
                ("grpc.enable_http_proxy", 0),
                # One channel per client: tests count connections and kill servers.
                ("grpc.use_local_subchannel_pool", 1),
                ("grpc.initial_reconnect_backoff_ms", 50),
                ("grpc.max_reconnect_backoff_ms", 200),
            ],
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self.channel.close()

    def call(
        self, path: str, request: Message | bytes, answer: type[Answer], timeout: float = TIMEOUT
    ) -> Answer:
        """One unary call; bytes are sent as they are (for garbage)."""
        method = self.channel.unary_unary(
            path,
            request_serializer=lambda message: (
                message if isinstance(message, bytes) else message.SerializeToString()
            ),
            response_deserializer=answer.FromString,
        )
        try:
            result: Answer = method(request, timeout=timeout, metadata=self.metadata)
        except grpc.RpcError as error:
            raise refusal(error) from None
        return result

    # --- KV

    def range(self, key: bytes, range_end: bytes = b"", **options: Any) -> rpc.RangeResponse:
        timeout = options.pop("timeout", TIMEOUT)
        request = rpc.RangeRequest(key=key, range_end=range_end, **options)
        return self.call("/etcdserverpb.KV/Range", request, rpc.RangeResponse, timeout)

    def put(self, key: bytes, value: bytes = b"", **options: Any) -> rpc.PutResponse:
        timeout = options.pop("timeout", TIMEOUT)
        request = rpc.PutRequest(key=key, value=value, **options)
        return self.call("/etcdserverpb.KV/Put", request, rpc.PutResponse, timeout)

    def delete(self, key: bytes, range_end: bytes = b"", **options: Any) -> rpc.DeleteRangeResponse:
        request = rpc.DeleteRangeRequest(key=key, range_end=range_end, **options)
        return self.call("/etcdserverpb.KV/DeleteRange", request, rpc.DeleteRangeResponse)

    def txn(self, request: rpc.TxnRequest, timeout: float = TIMEOUT) -> rpc.TxnResponse:
        return self.call("/etcdserverpb.KV/Txn", request, rpc.TxnResponse, timeout)

    def compact(self, revision: int, physical: bool = False) -> rpc.CompactionResponse:
        request = rpc.CompactionRequest(revision=revision, physical=physical)
        return self.call("/etcdserverpb.KV/Compact", request, rpc.CompactionResponse)

    # --- Lease

    def grant(self, ttl: int, lease: int = 0) -> rpc.LeaseGrantResponse:
        request = rpc.LeaseGrantRequest(TTL=ttl, ID=lease)
        return self.call("/etcdserverpb.Lease/LeaseGrant", request, rpc.LeaseGrantResponse)

    def revoke(self, lease: int) -> rpc.LeaseRevokeResponse:
        request = rpc.LeaseRevokeRequest(ID=lease)
        return self.call("/etcdserverpb.Lease/LeaseRevoke", request, rpc.LeaseRevokeResponse)

    def time_to_live(self, lease: int, keys: bool = False) -> rpc.LeaseTimeToLiveResponse:
        request = rpc.LeaseTimeToLiveRequest(ID=lease, keys=keys)
        return self.call(
            "/etcdserverpb.Lease/LeaseTimeToLive", request, rpc.LeaseTimeToLiveResponse
        )

    def leases(self) -> rpc.LeaseLeasesResponse:
        return self.call(
            "/etcdserverpb.Lease/LeaseLeases", rpc.LeaseLeasesRequest(), rpc.LeaseLeasesResponse
        )

    def keep_alive(self, lease: int) -> rpc.LeaseKeepAliveResponse:
        """One keep-alive on a stream of its own."""
        with self.stream(
            "/etcdserverpb.Lease/LeaseKeepAlive", rpc.LeaseKeepAliveResponse
        ) as stream:
            stream.send(rpc.LeaseKeepAliveRequest(ID=lease))
            return stream.receive()

    # --- Cluster, Maintenance

    def members(self, linearizable: bool = True) -> rpc.MemberListResponse:
        request = rpc.MemberListRequest(linearizable=linearizable)
        return self.call("/etcdserverpb.Cluster/MemberList", request, rpc.MemberListResponse)

    def member_add(self, url: str, *, learner: bool = False) -> rpc.MemberAddResponse:
        request = rpc.MemberAddRequest(peerURLs=[url], isLearner=learner)
        return self.call("/etcdserverpb.Cluster/MemberAdd", request, rpc.MemberAddResponse)

    def member_remove(self, member: int) -> rpc.MemberRemoveResponse:
        request = rpc.MemberRemoveRequest(ID=member)
        return self.call("/etcdserverpb.Cluster/MemberRemove", request, rpc.MemberRemoveResponse)

    def member_update(self, member: int, url: str) -> rpc.MemberUpdateResponse:
        request = rpc.MemberUpdateRequest(ID=member, peerURLs=[url])
        return self.call("/etcdserverpb.Cluster/MemberUpdate", request, rpc.MemberUpdateResponse)

    def member_promote(self, member: int) -> rpc.MemberPromoteResponse:
        request = rpc.MemberPromoteRequest(ID=member)
        return self.call("/etcdserverpb.Cluster/MemberPromote", request, rpc.MemberPromoteResponse)

    def status(self, timeout: float = TIMEOUT) -> rpc.StatusResponse:
        return self.call(
            "/etcdserverpb.Maintenance/Status", rpc.StatusRequest(), rpc.StatusResponse, timeout
        )

    def hash_kv(self, revision: int = 0) -> rpc.HashKVResponse:
        request = rpc.HashKVRequest(revision=revision)
        return self.call("/etcdserverpb.Maintenance/HashKV", request, rpc.HashKVResponse)

    def move_leader(self, target: int) -> rpc.MoveLeaderResponse:
        request = rpc.MoveLeaderRequest(targetID=target)
        return self.call("/etcdserverpb.Maintenance/MoveLeader", request, rpc.MoveLeaderResponse)

    # --- streams

    def stream(self, path: str, answer: type[Answer]) -> Stream[Answer]:
        return Stream(self.channel, path, answer, self.metadata)

    def watch(self) -> WatchStream:
        """A watch stream without watches yet."""
        return WatchStream(
            self.channel, "/etcdserverpb.Watch/Watch", rpc.WatchResponse, self.metadata
        )


class Stream(Generic[Answer]):
    """One bidirectional stream: `send`, `receive` with a time limit, `close`."""

    def __init__(
        self,
        channel: grpc.Channel,
        path: str,
        answer: type[Answer],
        metadata: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self._requests: queue.SimpleQueue[Message | bytes | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[Answer | Refused | None] = queue.SimpleQueue()
        method = channel.stream_stream(
            path,
            request_serializer=lambda message: (
                message if isinstance(message, bytes) else message.SerializeToString()
            ),
            response_deserializer=answer.FromString,
        )
        self._call = method(iter(self._requests.get, None), metadata=metadata)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Stream[Answer]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def send(self, request: Message | bytes) -> None:
        self._requests.put(request)

    def half_close(self) -> None:
        """Send no more; the server may still answer."""
        self._requests.put(None)

    def receive(self, timeout: float = TIMEOUT) -> Answer:
        """The next message.

        Raises Refused for an error status, EOFError at a clean end and queue.Empty after `timeout`
        seconds.
        """
        got = self._answers.get(timeout=timeout)
        if got is None:
            raise EOFError("the server ended the stream")
        if isinstance(got, Refused):
            raise got
        return got

    def close(self) -> None:
        self.half_close()
        self._call.cancel()
        self._reader.join(TIMEOUT)

    def _read(self) -> None:
        try:
            for message in self._call:
                self._answers.put(message)
            self._answers.put(None)
        except grpc.RpcError as error:
            self._answers.put(refusal(error))


class WatchStream(Stream[rpc.WatchResponse]):
    """A watch stream with the three kinds of requests."""

    def create(self, key: bytes, range_end: bytes = b"", **options: Any) -> None:
        self.send(
            rpc.WatchRequest(
                create_request=rpc.WatchCreateRequest(key=key, range_end=range_end, **options)
            )
        )

    def cancel(self, watch_id: int) -> None:
        self.send(rpc.WatchRequest(cancel_request=rpc.WatchCancelRequest(watch_id=watch_id)))

    def progress(self) -> None:
        self.send(rpc.WatchRequest(progress_request=rpc.WatchProgressRequest()))

    def events(self, timeout: float = TIMEOUT) -> Iterator[tuple[int, Any]]:
        """(watch id, event) as they come; other responses are passed over."""
        while True:
            response = self.receive(timeout)
            for event in response.events:
                yield response.watch_id, event
