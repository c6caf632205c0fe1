"""The caller of a call."""

from __future__ import annotations

import pytest

from rusd.rpc.call import Call, Caller


@pytest.mark.parametrize(
    ("metadata", "token"),
    [
        ({}, None),
        ({"token": "a"}, "a"),
        ({"authorization": "b"}, "b"),
        ({"token": "a", "authorization": "b"}, "a"),
    ],
)
def test_a_token_comes_from_clients_or_from_the_gateway(
    metadata: dict[str, str], token: str | None
) -> None:
    assert Call(metadata, b"", None, Caller("test")).token == token
