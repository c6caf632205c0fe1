"""Decodes the bodies of requests between members: a malformed one is a refusal, no fault."""

from collections.abc import Callable
from typing import TypeVar

from rusd.base.errors import Refusal
from rusd.raft.errors import MalformedAnswer, MalformedQuestion

T = TypeVar("T")


def decoded_question(decode: Callable[[bytes], T], body: bytes) -> T:
    """Returns the decoded body of a request. Raises MalformedQuestion."""
    return _decoded(decode, body, MalformedQuestion)


def decoded_answer(decode: Callable[[bytes], T], body: bytes) -> T:
    """Returns the decoded body of a response. Raises MalformedAnswer."""
    return _decoded(decode, body, MalformedAnswer)


def _decoded(decode: Callable[[bytes], T], body: bytes, malformed: type[Refusal]) -> T:
    try:
        return decode(body)
    except Exception as error:  # noqa: BLE001
        # Refused. Whatever the decoder raises (struct.error, DecodeError), the bytes are at fault.
        raise malformed(f"{malformed.reason}: {error}") from None
