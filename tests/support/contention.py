"""Calls of the Lock and Election services, waited for or left to wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf.message import Message

from rusd.proto import v3election_pb2 as election
from rusd.proto import v3lock_pb2 as lock
from tests.support.client import TIMEOUT, Client, refusal

#: Name of a method -> path, request, response.
METHODS: dict[str, tuple[str, type[Message], type[Message]]] = {
    "lock": ("/v3lockpb.Lock/Lock", lock.LockRequest, lock.LockResponse),
    "unlock": ("/v3lockpb.Lock/Unlock", lock.UnlockRequest, lock.UnlockResponse),
    "campaign": (
        "/v3electionpb.Election/Campaign",
        election.CampaignRequest,
        election.CampaignResponse,
    ),
    "proclaim": (
        "/v3electionpb.Election/Proclaim",
        election.ProclaimRequest,
        election.ProclaimResponse,
    ),
    "leader": ("/v3electionpb.Election/Leader", election.LeaderRequest, election.LeaderResponse),
    "resign": ("/v3electionpb.Election/Resign", election.ResignRequest, election.ResignResponse),
}


def until(holds: Callable[[], bool], seconds: float = 15) -> None:
    """Wait until `holds`."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "not within the time"
        time.sleep(0.01)


def contend(client: Client, method: str, **fields: Any) -> Any:
    """One call."""
    path, request, answer = METHODS[method]
    return client.call(path, request(**fields), answer)


class Waiting:
    """A call under way."""

    def __init__(self, client: Client, method: str, **fields: Any) -> None:
        path, request, answer = METHODS[method]
        call = client.channel.unary_unary(
            path,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,
        )
        self._future = call.future(request(**fields), timeout=4 * TIMEOUT, metadata=client.metadata)

    def result(self) -> Any:
        """The response; raises Refused."""
        try:
            return self._future.result(TIMEOUT)
        except grpc.RpcError as error:
            raise refusal(error) from None

    def done(self) -> bool:
        return bool(self._future.done())

    def succeeded(self) -> bool:
        """Return whether a finished call has a response."""
        return not self._future.cancelled() and self._future.exception() is None

    def cancel(self) -> None:
        self._future.cancel()


class Observed:
    """The responses of one Observe call, in order."""

    def __init__(self, client: Client, name: bytes) -> None:
        call = client.channel.unary_stream(
            "/v3electionpb.Election/Observe",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=election.LeaderResponse.FromString,
        )
        self._call = call(
            election.LeaderRequest(name=name), timeout=TIMEOUT, metadata=client.metadata
        )

    def next(self) -> election.LeaderResponse | None:
        """The next response; None if the stream has ended. Raises Refused."""
        try:
            response: election.LeaderResponse | None = next(self._call, None)
        except grpc.RpcError as error:
            raise refusal(error) from None
        return response

    def cancel(self) -> None:
        self._call.cancel()
