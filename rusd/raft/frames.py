"""The frames between members and the fields each must carry.

A connection that passed the hello is still only bytes: a frame with a field missing or of another
type is refused here, so that nothing behind can fail on it.
"""

from typing import Any

#: Frames of PySyncObj.
RAFT: dict[str, dict[str, type]] = {
    "append_entries": {"term": int, "commit_index": int},
    "next_node_idx": {"term": int, "next_node_idx": int, "reset": bool, "success": bool},
    "request_vote": {"term": int, "last_log_index": int, "last_log_term": int},
    "response_vote": {"term": int},
    "timeout_now": {"term": int},
}
#: Our own.
OWN: dict[str, dict[str, type]] = {
    "prevote": {"term": int, "last_index": int, "last_term": int},
    "prevote_reply": {"term": int, "asked": int, "granted": bool},
    "term": {"term": int},
    "propose": {"term": int, "batch": list},
    "read": {"term": int, "number": int},
    "read_reply": {"term": int, "number": int},
    "read_index": {"id": int},
    "read_index_reply": {"id": int, "index": int},
    "ask": {"id": int, "kind": str, "body": bytes},
    "answer": {"id": int, "body": bytes, "error": list},
    "want_snapshot": {"term": int},
    "removed": {},
    "snapshot": {"stream": int, "op": str},
    "snapshot_reply": {"stream": int, "received": int},
}
_ALL: dict[str, dict[str, type]] = {**RAFT, **OWN}
_SNAPSHOT: dict[str, dict[str, type]] = {
    "begin": {"index": int, "files": dict},
    "chunk": {"file": str, "offset": int, "data": bytes, "crc": int},
    "end": {},
}


def problem(frame: dict[str, Any]) -> str | None:
    """What is wrong with a received frame, None if nothing is."""
    kind = frame["type"]
    fields = _ALL.get(kind)
    if fields is None:
        return f"unknown frame {kind!r}"
    if not _has(frame, fields):
        return f"frame {kind!r} lacks a field"
    if kind == "append_entries" and "prevLogIdx" in frame:
        return _entries_problem(frame)
    if kind == "propose":
        return None if all(map(_is_request, frame["batch"])) else "not a batch of proposals"
    if kind == "snapshot":
        more = _SNAPSHOT.get(frame["op"])
        if more is None or not _has(frame, more):
            return "not a snapshot frame"
        if frame["op"] == "begin" and not all(
            isinstance(name, str) and isinstance(size, int) and size >= 0
            for name, size in frame["files"].items()
        ):
            return "not a snapshot's list of files"
    return None


def _has(frame: dict[str, Any], fields: dict[str, type]) -> bool:
    return all(isinstance(frame.get(name), kind) for name, kind in fields.items())


def _entries_problem(frame: dict[str, Any]) -> str | None:
    if not _has(frame, {"prevLogIdx": int, "prevLogTerm": int, "entries": list}):
        return "append without its place in the log"
    for entry in frame["entries"]:
        if (
            not isinstance(entry, list)
            or len(entry) != 3
            or not isinstance(entry[0], bytes)
            or not isinstance(entry[1], int)
            or not isinstance(entry[2], int)
        ):
            return "not a log entry"
    return None


def _is_request(one: object) -> bool:
    return (
        isinstance(one, list)
        and len(one) == 3
        and isinstance(one[0], int)
        and isinstance(one[1], int)
        and isinstance(one[2], bytes)
    )
