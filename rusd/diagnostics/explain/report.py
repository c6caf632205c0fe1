"""The accounts in words, and as JSON."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from typing import Any

from ..text import of_bytes
from .account import KeyAccount, RevisionAccount
from .changes import size
from .history import Change, Event


def of_key(told: KeyAccount, program: str) -> Iterator[str]:
    """Yield the lines about a key; `program`: the command line, to which words are added."""
    if told.compacted:
        yield (
            f"history up to revision {told.compacted} is compacted; at that revision "
            + _state(told.before, "the key did not exist")
        )
    elif told.first > 1:
        yield f"before revision {told.first} " + _state(told.before, "the key did not exist")
    hidden = told.count - len(told.changes)
    if hidden:
        yield (
            f"{hidden} earlier changes are not shown: "
            f"{program} --to-revision={told.changes[0].revision - 1}, or --limit=0 for all"
        )
    for each in told.changes:
        yield from _change(each, f"version {each.version}" if each.version else "")
    if not told.count and not told.before and told.now is None:
        yield "the key was never written" + (
            f" after revision {told.compacted}" if told.compacted else f" up to {told.revision}"
        )
        number, some = told.alike
        if number:
            yield f"{number} keys begin with it: {', '.join(map(of_bytes, some))}" + (
                ", …" if number > len(some) else ""
            )
    elif not told.count:
        yield f"no change from revision {told.first} to {told.last}"
    yield f"now, at revision {told.revision}: " + _now(told)
    if told.guessed:
        yield "(inferred: nothing more came for a while; the member does not say that this is all)"


def _state(event: Event | None, otherwise: str) -> str:
    if event is None or event.value is None:
        return otherwise
    lease = f", lease {event.lease:x}" if event.lease else ""
    return (
        f"the key had {size(event.value)}, version {event.version} of revision {event.revision}, "
        f"created at revision {event.create_revision}{lease}"
    )


def _now(told: KeyAccount) -> str:
    now = told.now
    if now is None or now.value is None:
        return "the key does not exist"
    text = f"{size(now.value)}, version {now.version}, created at revision {now.create_revision}"
    if now.lease:
        text += f", lease {now.lease:x}"
        text += f" with {told.left} s left" if told.left is not None and told.left >= 0 else ""
    return text


def _change(each: Change, more: str) -> Iterator[str]:
    sure = "  (inferred)" if each.inferred else ""
    yield f"revision {each.revision:<8} {each.text}{f'  [{more}]' if more else ''}{sure}"
    for line in each.lines:
        yield f"{'':18}{line}"


def of_revision(told: RevisionAccount, program: str) -> Iterator[str]:
    """Yield the lines about a revision."""
    at = told.revision
    if at > told.newest:
        yield f"revision {at} does not exist yet: the newest is {told.newest}"
    elif at < 2:
        yield f"revision {at} is that of an empty store: the first write makes revision 2"
    elif told.compacted:
        yield (
            f"revision {at} is compacted (up to {told.compacted}): what it deleted, and values "
            "that were replaced since, are gone"
        )
        if told.remaining is None:
            yield "there are too many keys to look for values that are still of it"
        elif told.remaining:
            yield "these keys still have the value that it wrote:"
            yield from (f"  {of_bytes(key)}" for key in told.remaining)
        else:
            yield "no key has a value of it any more"
    else:
        puts = sum(each.kind != "deleted" for each in told.changes)
        shown = "" if told.count == len(told.changes) else f", the first {len(told.changes)} shown"
        one = told.count == 1
        yield f"revision {at} changed {told.count} key{'s' * (not one)}{shown}" + (
            ""
            if one or told.count != len(told.changes)
            else f": {puts} put, {told.count - puts} deleted"
        )
        for each in told.changes:
            yield f"{of_bytes(each.key)}"
            text = each.text + (f"  [version {each.version}]" if each.version else "")
            yield f"  {text}" + ("  (inferred)" if each.inferred else "")
            yield from (f"    {line}" for line in each.lines)
        if told.count > len(told.changes):
            yield f"{told.count - len(told.changes)} more: {program} --limit=0"
        if told.edge:
            yield (
                "(it is the compacted revision itself: deletions may be missing, and what was "
                "there before is gone)"
            )


def key_as_json(told: KeyAccount) -> dict[str, Any]:
    """Return an account of a key as one object."""
    return {
        "key": _key(told.key),
        "revision": told.revision,
        "first": told.first,
        "last": told.last,
        "compacted": told.compacted,
        "before": _event(told.before),
        "now": _event(told.now),
        "lease_seconds_left": told.left,
        "count": told.count,
        "certainty": "inferred" if told.guessed else "measured",
        "changes": [_as_json(each) for each in told.changes],
    }


def revision_as_json(told: RevisionAccount) -> dict[str, Any]:
    """Return an account of a revision as one object."""
    remaining = told.remaining
    return {
        "revision": told.revision,
        "newest": told.newest,
        "compacted": told.compacted,
        "partial": told.edge,
        "count": told.count,
        "changes": [_as_json(each) for each in told.changes],
        "remaining": None if remaining is None else [_key(each) for each in remaining],
    }


def _event(event: Event | None) -> dict[str, Any] | None:
    if event is None:
        return None
    return {
        "revision": event.revision,
        "create_revision": event.create_revision,
        "version": event.version,
        "lease": f"{event.lease:x}" if event.lease else None,
        "size": len(event.value or b""),
    }


def _as_json(each: Change) -> dict[str, Any]:
    return {
        "key": _key(each.key),
        "revision": each.revision,
        "kind": each.kind,
        "text": each.text,
        "certainty": "inferred" if each.inferred else "measured",
        "version": each.version,
        "lease": f"{each.lease:x}" if each.lease else None,
        "size": each.size,
        "difference": list(each.lines),
    }


def _key(key: bytes) -> dict[str, str]:
    return {"text": of_bytes(key), "base64": b64encode(key).decode()}
