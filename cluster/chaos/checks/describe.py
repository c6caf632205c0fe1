"""Operations as text, for counterexamples."""

from __future__ import annotations

from ..history import Action, Operation, Outcome

#: Longer values are shown by their beginning and end.
_LONGEST = 60


def value(text: str | None) -> str:
    """Returns a register's value: quoted, shortened, or "absent"."""
    if text is None:
        return "absent"
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST // 2]}…{text[-_LONGEST // 2 :]}"
    return f'"{text}"'


def call(op: Operation) -> str:
    """Returns the call and its result: `write "a"`, `read → absent`."""
    if op.action is Action.READ:
        kind = "serializable read" if op.serializable else "read"
        return f"{kind} → {value(op.result) if op.outcome is Outcome.OK else '?'}"
    if op.action is Action.WRITE:
        return f"write {value(op.argument)}"
    if op.action is Action.DELETE:
        return "delete"
    fate = {True: "swapped", False: "refused", None: "?"}[op.succeeded]
    return f"compare-and-swap {value(op.expected)} to {value(op.argument)} → {fate}"


def operation(op: Operation) -> str:
    """Format one line: time, client, member, call, and the revision in the answer."""
    if op.outcome is Outcome.OK and op.completed is not None:
        when = f"{op.invoked:.6f} to {op.completed:.6f} s"
    else:
        when = f"{op.invoked:.6f} s, outcome {op.outcome.value}"
    text = f"[{when}] client {op.client} at {op.endpoint}: {op.key}: {call(op)}"
    if op.revision:
        text += f" (revision {op.revision})"
    if op.error:
        text += f" ({op.error})"
    return text
