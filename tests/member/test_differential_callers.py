"""Every method of the server beside etcd: without a token, with a forged one, as a plain user."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message

from rusd.proto import rpc_pb2 as rpc
from tests.support.auth_pair import AuthExample, World, auth_pair, world
from tests.support.client import TIMEOUT, Client, Refused, refusal
from tests.support.pair import Pair

METHODS = {
    f"/etcdserverpb.{service.name}/{method.name}": method
    for service in rpc.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
#: A user with a role, and forged tokens. (With a log index to come, etcd waits for the deadline.)
USER, FORGED = "u", ["x.1", "", "eyJhbGciOiJub25lIn0.e30."]
TEXTS = {"name": "root", "user": "root", "role": "root", "password": "p"}


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    yield from auth_pair()


def filled(method: MethodDescriptor) -> Message:
    """A request that names the user and the role root, a key outside the user's range, lease 1."""
    request = message_factory.GetMessageClass(method.input_type)()
    if isinstance(request, rpc.WatchRequest):
        request.create_request.key = b"z"
    if isinstance(request, rpc.TxnRequest):
        request.success.add().request_put.key = b"z"
    for field in method.input_type.fields:
        if field.is_repeated or field.type == FieldDescriptor.TYPE_MESSAGE:
            continue
        if field.name in TEXTS:
            setattr(request, field.name, TEXTS[field.name])
        elif field.name == "key":
            request.key = b"z"  # type: ignore[attr-defined]
        elif field.name == "ID":
            request.ID = 1  # type: ignore[attr-defined]
    return request


def first(client: Client, path: str, request: Message) -> object:
    """The refusal of a call, the reason why a watcher is refused, or the type of the first answer;
    on the wire a call with one request is the same whatever its kind.
    """
    answer = message_factory.GetMessageClass(METHODS[path].output_type)
    metadata = client._metadata
    call = client.channel.stream_stream(
        path,
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=answer.FromString,
    )(iter([request]), timeout=TIMEOUT, metadata=metadata)
    try:
        received = next(iter(call), None)
    except grpc.RpcError as error:
        return refusal(error)
    finally:
        call.cancel()
    if isinstance(received, rpc.WatchResponse) and received.canceled:
        return received.cancel_reason
    return type(received).__name__


def compared(calls: AuthExample, caller: str, path: str, request: Message) -> object:
    mine, theirs = (first(client, path, request) for client in calls.clients(caller))
    assert mine == theirs, f"{caller or 'nobody'}: {path}\n rusd: {mine!r}\n etcd: {theirs!r}"
    return mine


def test_every_method_decides_as_etcd_who_may_call_it(pair: Pair) -> None:
    plain = World(roles={"r": [(2, b"a", b"m")]}, users={USER: ["r"]})
    with world(pair, plain) as calls:
        for token in FORGED:
            calls.use(f"forged {token}", token, token)
        outcomes = {
            (path, caller): compared(calls, caller, path, request)
            for path, method in METHODS.items()
            for request in (message_factory.GetMessageClass(method.input_type)(), filled(method))
            # (A watch request that creates nothing is never answered.)
            if request.ByteSize() or method.name != "Watch"
            for caller in ("", USER, *(f"forged {token}" for token in FORGED))
        }
    # (So that a comparison of two open doors is not taken for a proof.)
    for path in METHODS:
        if path not in ("/etcdserverpb.Auth/Authenticate", "/etcdserverpb.Auth/AuthStatus"):
            assert not _served(outcomes[path, ""]), path
        if path != "/etcdserverpb.Auth/Authenticate":
            assert not _served(outcomes[path, "forged x.1"]), path


def _served(outcome: object) -> bool:
    return isinstance(outcome, str) and outcome.endswith("Response")


def test_a_refused_caller_is_told_nothing_about_what_exists(pair: Pair) -> None:
    """Names of users, roles, leases and keys get the same refusal whether they exist or not."""
    plain = World(roles={"r": [(2, b"a", b"m")]}, users={USER: ["r"]})
    with world(pair, plain) as calls:
        for path, name in (("UserGet", "name"), ("RoleGet", "role"), ("UserDelete", "name")):
            for caller in ("", USER):
                seen = {
                    repr(calls.auth(caller, path, **{name: value})) for value in ("root", "nobody")
                }
                assert len(seen) == 1 and "Refused" in seen.pop()
        denied = calls.both(USER, "range", b"z")
        assert isinstance(denied, Refused) and denied == calls.both(USER, "range", b"zz")
