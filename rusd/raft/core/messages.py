"""PySyncObj's messages: dicts, made and read in `core` only.

Between members they travel as frames (`transport/frames.py`); here is the translation, both ways.
"""

from collections.abc import Sequence
from typing import Any

from rusd.raft.ports import LogEntry
from rusd.raft.transport.frames import (
    MAX_FRAME,
    AppendEntries,
    AppendReply,
    RaftFrame,
    RequestVote,
    TimeoutNow,
    VoteGranted,
)

Message = dict[str, Any]

#: Bytes of entries above which an append is sent as several frames. The rest of a frame is for what
#: surrounds the entries; a single entry may be larger (`MAX_CARRIED`).
APPEND_BYTES = MAX_FRAME // 2


def message_of(frame: RaftFrame) -> Message:
    """Returns a frame as PySyncObj's message."""
    match frame:
        case AppendEntries():
            message = {
                "type": "append_entries",
                "term": frame.term,
                "commit_index": frame.commit_index,
            }
            if not frame.is_heartbeat:
                message["prevLogIdx"] = frame.prev_index
                message["prevLogTerm"] = frame.prev_term
                message["entries"] = frame.entries
                message["attempt"] = frame.attempt
            return message
        case AppendReply():
            return {
                "type": "next_node_idx",
                "term": frame.term,
                "next_node_idx": frame.next_index,
                "reset": frame.reset,
                "success": frame.success,
                "attempt": frame.attempt,
            }
        case RequestVote():
            return {
                "type": "request_vote",
                "term": frame.term,
                "last_log_index": frame.last_log_index,
                "last_log_term": frame.last_log_term,
            }
        case VoteGranted():
            return {"type": "response_vote", "term": frame.term}
        case TimeoutNow():
            return {"type": "timeout_now", "term": frame.term}
    raise TypeError(f"not a frame of Raft: {frame!r}")


def reply_of(message: Message) -> AppendReply | RequestVote | VoteGranted:
    """Returns a message of PySyncObj other than an append as a frame. All of these assert
    durability.
    """
    kind, term = message["type"], message["term"]
    if kind == "next_node_idx":
        return AppendReply(
            term,
            message["next_node_idx"],
            message["reset"],
            message["success"],
            message.get("attempt", 0),
        )
    if kind == "request_vote":
        return RequestVote(
            term,
            message["last_log_index"],
            message["last_log_term"],
            message.get("transfer", False),
        )
    if kind == "response_vote":
        return VoteGranted(term)
    raise ValueError(f"PySyncObj sends {kind!r}")


def appends_of(message: Message) -> list[AppendEntries]:
    """Returns an append as one frame, or as several consecutive ones if it is too large."""
    frames: list[AppendEntries] = []
    term, commit = message["term"], message["commit_index"]
    before, before_term = message["prevLogIdx"], message["prevLogTerm"]
    entries: Sequence[LogEntry] = message["entries"]
    attempt: int = message["attempt"]
    size = first = 0
    for at, (command, _, _) in enumerate(entries):
        size += len(command)
        if size > APPEND_BYTES and at > first:
            part = entries[first:at]
            frames.append(AppendEntries(term, commit, before, before_term, part, attempt))
            _, before, before_term = entries[at - 1]
            first, size = at, len(command)
    rest = entries[first:] if first else entries
    frames.append(AppendEntries(term, commit, before, before_term, rest, attempt))
    return frames
