"""One reader or writer for each type of message, built when it is first asked for."""

from collections.abc import Callable
from typing import Generic, Protocol, Self, TypeVar

from google.protobuf.descriptor import Descriptor, FieldDescriptor


class OfType(Protocol):
    """A reader or a writer of the messages of one type."""

    def add(self, field: FieldDescriptor, inner: Self | None) -> None:
        """`inner`: the one of the field's type, if that is a message."""


T = TypeVar("T", bound=OfType)


class ByType(Generic[T]):
    """All that were asked for, and those of their fields."""

    def __init__(self, make: Callable[[Descriptor], T]) -> None:
        """`make` returns one without fields."""
        self._make = make
        self._made: dict[str, T] = {}

    def of(self, kind: Descriptor) -> T:
        """The reader or writer of a type."""
        made = self._made.get(kind.full_name)
        if made is None:
            # (Before its fields: a transaction may hold transactions.)
            made = self._made[kind.full_name] = self._make(kind)
            for field in kind.fields:
                inner = field.message_type
                made.add(field, None if inner is None else self.of(inner))
        return made
