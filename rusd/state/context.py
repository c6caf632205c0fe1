"""State that the handlers of all commands share during an apply."""

from collections.abc import Callable, Generator
from typing import Any, NamedTuple

from rusd.auth.records import Identity
from rusd.mvcc.store import Writer
from rusd.state.listeners import Listeners
from rusd.state.result import Applied

#: A command that takes several slices; yields between them.
Work = Generator[None, None, Applied]


#: Checks of one request: raises AuthError, or is a generator that does so, in slices.
Permit = Callable[[Identity, Any], Generator[None, None, None] | None]


class Handler(NamedTuple):
    """Decoder and apply function of one kind of command."""

    #: Body to request; raises ValueError or protobuf's DecodeError.
    decode: Callable[[bytes], Any]
    #: (writer, request, wanted) to result; `wanted`: a client of this member waits for the answer.
    #: Raises a Refusal if the command is refused; then nothing was written.
    apply: Callable[[Writer, Any, bool], Applied | Work]
    #: What the client must be permitted, while authentication is enabled; None: nothing is checked
    #: when it is applied (proposals of members, and what `api` checks before it proposes).
    permit: Permit | None = None
    #: Raises if an active alarm refuses the command: before permissions are checked, as in etcd.
    refuse: Callable[[Any], None] | None = None


class ApplyContext:
    """State of the apply in progress."""

    __slots__ = ("_notifications", "index", "term")

    def __init__(self) -> None:
        #: Term of the entry that is being applied.
        self.term = 0
        #: Its index.
        self.index = 0
        self._notifications: list[Callable[[Listeners], None]] = []

    def after_commit(self, notification: Callable[[Listeners], None]) -> None:
        """Call `notification` once the storage write is done."""
        self._notifications.append(notification)

    def notify(self, listeners: Listeners) -> None:
        """Call the collected notifications in order."""
        if not self._notifications:
            return
        notifications, self._notifications = self._notifications, []
        for notification in notifications:
            notification(listeners)

    def discard(self) -> None:
        """Drop the notifications of an aborted apply."""
        self._notifications.clear()
