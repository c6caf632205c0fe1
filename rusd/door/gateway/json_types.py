"""Readers and writers of JSON, one for each message type, built on first use."""

from collections.abc import Callable
from typing import Generic, Protocol, Self, TypeVar

from google.protobuf.descriptor import Descriptor, FieldDescriptor


class OfType(Protocol):
    """A reader or a writer of the messages of one type."""

    def add(self, field: FieldDescriptor, inner: Self | None) -> None:
        """Add a field. `inner`: the reader or writer of the field's type if it is a message."""


T = TypeVar("T", bound=OfType)


class ByType(Generic[T]):
    """The readers or writers built so far, with those of their fields."""

    def __init__(self, make: Callable[[Descriptor], T]) -> None:
        """`make` returns a reader or writer without fields."""
        self._make = make
        self._made: dict[str, T] = {}

    def of(self, kind: Descriptor) -> T:
        """Return the reader or writer of a type."""
        made = self._made.get(kind.full_name)
        if made is None:
            # (Before its fields: a transaction may hold transactions.)
            made = self._made[kind.full_name] = self._make(kind)
            for field in kind.fields:
                inner = field.message_type
                made.add(field, None if inner is None else self.of(inner))
        return made
