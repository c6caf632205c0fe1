"""The Auth service of a member without authentication, beside etcd."""

from typing import Any

import pytest
from google.protobuf import message_factory

from rusd.proto import rpc_pb2 as rpc
from tests.support.client import Client, Refused
from tests.support.pair import Pair

AUTH = rpc.DESCRIPTOR.services_by_name["Auth"]
FIELDS = {"name": "u", "user": "u", "role": "r", "password": "p"}


def arguments(method: str, **fields: str) -> tuple[str, Any, Any]:
    """Path, request and answer type of a call; fields that the request does not have are left."""
    called = AUTH.methods_by_name[method]
    request = message_factory.GetMessageClass(called.input_type)
    answer = message_factory.GetMessageClass(called.output_type)
    known = called.input_type.fields_by_name
    given = {name: value for name, value in fields.items() if name in known}
    return f"/etcdserverpb.Auth/{method}", request(**given), answer


@pytest.mark.parametrize("method", sorted(AUTH.methods_by_name))
def test_every_call_of_the_auth_service_is_answered_as_etcd_does_without_auth(
    pair: Pair, method: str
) -> None:
    with pair.example() as example:
        example.both("call", *arguments(method))
        example.both("call", *arguments(method, **FIELDS))


def test_a_permission_is_not_granted_to_a_role_that_is_not_there(pair: Pair) -> None:
    path, request, answer = arguments("RoleGrantPermission", name="r")
    request.perm.key = b"k"
    with pair.example() as example:
        example.both("call", path, request, answer)


def test_authenticating_where_auth_is_off_is_refused_so_that_clients_go_on(pair: Pair) -> None:
    with pair.example() as example:
        refused = example.both("call", *arguments("Authenticate", **FIELDS))
    assert refused == Refused("FAILED_PRECONDITION", "etcdserver: authentication is not enabled")


def test_a_token_is_not_looked_at_while_auth_is_off(pair: Pair) -> None:
    """As in etcd 3.6 and later; 3.5 refuses some calls with a token it does not know."""
    with pair.example():
        for name in ("token", "authorization"):
            with Client(pair.rusd.endpoint, metadata={name: "stale.1"}) as client:
                assert client.put(b"k").header.revision
                assert client.range(b"k").count == 1
                assert client.call(*arguments("UserList")).header.revision
