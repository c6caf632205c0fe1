"""Frames as the first release with them encoded them: still taken, and still written so.

Recorded with its encoder. A mixed cluster (an upgrade, one member at a time) speaks these.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rusd.raft.transport import frames
from rusd.raft.transport.frames import OPENING, OWN, RAFT, Refused, decode, pack

#: Fields that this release leaves out where they have the value that stands for an absent one.
ABSENT: Mapping[str, Any] = {
    "term": 0,
    "index": 0,
    "joining": False,
    "lives": {},
    "started": [],
    "number": 0,
}

RECORDED = Path(__file__).with_name("frames_of_the_first_release.txt").read_text().splitlines()


def fields(data: bytes) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.msgpack.decode(data[4:], strict=False)
    return found


def taken(data: bytes) -> frames.Frame:
    """From a member, or else from anyone."""
    try:
        return decode(data[4:], member=True)
    except Refused:
        return decode(data[4:], member=False)


@pytest.mark.parametrize("line", RECORDED, ids=lambda line: line.split()[0])
def test_a_frame_of_the_first_release_is_taken_and_written_with_the_same_fields(line: str) -> None:
    data = bytes.fromhex(line.split()[1])
    frame = taken(data)
    written = pack(frame)
    assert int.from_bytes(written[:4], "big") == len(written) - 4
    before, after = fields(data), fields(written)
    assert next(iter(after)) == "type"
    left_out = before.keys() - after.keys()
    assert {name: before[name] for name in left_out}.items() <= ABSENT.items()
    assert {name: value for name, value in before.items() if name not in left_out} == after
    assert taken(written) == frame


def test_every_kind_was_recorded() -> None:
    recorded = {type(taken(bytes.fromhex(line.split()[1]))) for line in RECORDED}
    assert recorded == {*OPENING, *RAFT, *OWN}
