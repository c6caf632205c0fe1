"""PySyncObj's messages: dicts, made and read in this room only.

Between members they travel as frames (`transport/frames.py`); here is the translation, both ways.
"""

from typing import Any

from rusd.raft.transport.frames import (
    AppendEntries,
    AppendReply,
    RaftFrame,
    RequestVote,
    TimeoutNow,
    VoteGranted,
)

Message = dict[str, Any]


def message_of(frame: RaftFrame) -> Message:
    """A frame as PySyncObj's message."""
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
            return message
        case AppendReply():
            return {
                "type": "next_node_idx",
                "term": frame.term,
                "next_node_idx": frame.next_index,
                "reset": frame.reset,
                "success": frame.success,
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


def frame_of(message: Message) -> RaftFrame:
    """A message of PySyncObj, completed by `Filters`, as a frame."""
    kind, term = message["type"], message["term"]
    match kind:
        case "append_entries":
            return AppendEntries(
                term,
                message["commit_index"],
                message["prevLogIdx"],
                message["prevLogTerm"],
                message["entries"],
            )
        case "next_node_idx":
            return AppendReply(term, message["next_node_idx"], message["reset"], message["success"])
        case "request_vote":
            return RequestVote(
                term,
                message["last_log_index"],
                message["last_log_term"],
                message.get("transfer", False),
            )
        case "response_vote":
            return VoteGranted(term)
    raise ValueError(f"PySyncObj sends {kind!r}")
