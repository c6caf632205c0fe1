"""Frames without a mask are found wherever reads end."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from rusd.door.http.websocket import FrameMasks

SIZES = st.one_of(st.integers(0, 130), st.sampled_from((125, 126, 65_535, 65_536, 70_000)))


def frame(size: int, masked: bool) -> bytes:
    flag = 0x80 if masked else 0
    if size < 126:
        head = bytes((0x81, flag | size))
    elif size < 1 << 16:
        head = bytes((0x81, flag | 126)) + struct.pack(">H", size)
    else:
        head = bytes((0x81, flag | 127)) + struct.pack(">Q", size)
    return head + bytes(4 if masked else 0) + b"\x01" * size


@given(st.lists(SIZES, max_size=4), st.booleans(), st.lists(st.integers(1, 1000), max_size=20))
def test_every_frame_is_looked_at_and_no_payload(
    sizes: list[int], last_masked: bool, reads: list[int]
) -> None:
    stream = b"".join(frame(size, True) for size in sizes) + frame(5, last_masked)
    masks = FrameMasks()
    found = []
    for read in (*reads, len(stream)):
        found.append(masks.all_masked(stream[:read]))
        stream = stream[read:]
    assert all(found) is last_masked
