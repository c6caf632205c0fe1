"""Every method of etcd's services, called with an empty and with a filled request."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message

from rusd.proto import rpc_pb2 as rpc
from tests.support.client import TIMEOUT, Client, refusal

METHODS: dict[str, MethodDescriptor] = {
    f"/etcdserverpb.{service.name}/{method.name}": method
    for service in rpc.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
TEXTS = {"name": "root", "user": "root", "role": "root", "password": "p"}


def requests(method: MethodDescriptor) -> Iterator[Message]:
    """An empty request, and one that names the user and the role root, the key z, lease 1."""
    empty = message_factory.GetMessageClass(method.input_type)()
    # (A watch request that creates nothing is never answered.)
    if method.name != "Watch":
        yield empty
    yield filled(method)


def filled(method: MethodDescriptor) -> Message:
    """The second of `requests`."""
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


def first(client: Client, path: str, request: Message, **metadata: str) -> object:
    """The refusal of a call, the reason why a watcher is refused, or the type of the first answer;
    on the wire a call with one request is the same whatever its kind.
    """
    answer = message_factory.GetMessageClass(METHODS[path].output_type)
    call = client.channel.stream_stream(
        path,
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=answer.FromString,
    )(iter([request]), timeout=TIMEOUT, metadata=(*client.metadata, *metadata.items()))
    try:
        received = next(iter(call), None)
    except grpc.RpcError as error:
        return refusal(error)
    finally:
        call.cancel()
    if isinstance(received, rpc.WatchResponse) and received.canceled:
        return received.cancel_reason
    return type(received).__name__
