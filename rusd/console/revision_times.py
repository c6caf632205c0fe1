"""When revisions were made, as far as this member saw it, and the page `times`.

The member notes its revision every few seconds: a span is the time in which it did not change.
Between two spans it grew, at moments that were not noted. Spans are thinned as they age: a gap
stays a small part of its age, and `SPANS` of them last for years.

They are kept in a file without an fsync: after a crash the last minute is missing, or all of it.
What does not fit the store (of another cluster, or of revisions that it does not have) is dropped.
"""

import os
import struct
import zlib
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

#: Spans that are kept; the file has `_SPAN.size` bytes for each.
SPANS = 2048
#: What a gap between spans may be of its age at first.
_SHARE = 1 / 512

_MAGIC = b"rusd revision times 1\n"
_HEADER = struct.Struct("<QI")
_HEAD_SIZE = len(_MAGIC) + _HEADER.size
_SPAN = struct.Struct("<qqq")


class Span(NamedTuple):
    """A revision that was the newest from `first` to `last` (Unix ms), at least."""

    first: int
    last: int
    revision: int


class Found(NamedTuple):
    """A moment or a revision that was looked for. None: not known."""

    #: The revision that was the newest at a moment; the newest that is known to be no newer, if
    #: `next_revision` is another one.
    revision: int | None = None
    next_revision: int | None = None
    #: Unix ms: the revision was the newest in this time; or it was made, or grew, in this time.
    begin: int | None = None
    end: int | None = None


class RevisionTimes:
    """The spans of one member, in order of time and of revision."""

    def __init__(self, spans: Sequence[Span] = ()) -> None:
        self.spans = list(spans)

    def note(self, now: int, revision: int) -> None:
        """Note the revision at `now` (Unix ms)."""
        spans = self.spans
        while spans and (spans[-1].first > now or spans[-1].revision > revision):
            # (The clock was set back, or the member took over other data.)
            spans.pop()
        if spans and spans[-1].revision == revision:
            spans[-1] = spans[-1]._replace(last=max(now, spans[-1].last))
            return
        if spans and spans[-1].last > now:
            spans[-1] = spans[-1]._replace(last=now)
        spans.append(Span(now, now, revision))
        if len(spans) > SPANS:
            self._thin(now)

    def _thin(self, now: int) -> None:
        share = _SHARE
        while len(self.spans) > SPANS * 3 // 4:
            first, *between, last = self.spans
            kept = [first]
            for span, following in pairwise((*between, last)):
                if following.first - kept[-1].last > (now - span.first) * share:
                    kept.append(span)
            self.spans = [*kept, last]
            share *= 2

    def at(self, time: int) -> Found:
        """Return what was the newest revision at `time` (Unix ms)."""
        index = bisect_right(self.spans, time, key=lambda span: span.first) - 1
        if index < 0:
            return Found(end=self.oldest)
        span = self.spans[index]
        if time <= span.last or index + 1 == len(self.spans):
            return Found(span.revision, span.revision, span.first, max(span.last, span.first))
        following = self.spans[index + 1]
        return Found(span.revision, following.revision, span.last, following.first)

    def of(self, revision: int) -> Found:
        """Return when a revision was made: after `begin`, and not after `end`."""
        index = bisect_right(self.spans, revision - 1, key=lambda span: span.revision)
        if index == len(self.spans):
            return Found(revision)
        begin = self.spans[index - 1].last if index else None
        return Found(revision, revision, begin, self.spans[index].first)

    @property
    def oldest(self) -> int | None:
        """The first moment that is known (Unix ms)."""
        return self.spans[0].first if self.spans else None


def load(path: Path, cluster_id: int, revision: int, now: int) -> RevisionTimes:
    """Return what the file at `path` holds of this cluster up to `revision`; nothing if it is
    missing or damaged.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_HEAD_SIZE + SPANS * _SPAN.size + 1)
    except OSError:
        return RevisionTimes()
    head, body = content[:_HEAD_SIZE], content[_HEAD_SIZE:]
    if head != _head(cluster_id, body) or len(body) % _SPAN.size or len(body) > SPANS * _SPAN.size:
        return RevisionTimes()
    times = RevisionTimes()
    for span in map(Span._make, _SPAN.iter_unpack(body)):
        if span.revision > revision or span.last > now:
            break
        times.spans.append(span)
    return times


def encoded(times: RevisionTimes, cluster_id: int) -> bytes:
    """Return the content of the file."""
    body = b"".join(_SPAN.pack(*span) for span in times.spans)
    return _head(cluster_id, body) + body


def _head(cluster_id: int, body: bytes) -> bytes:
    return _MAGIC + _HEADER.pack(cluster_id, zlib.crc32(body))


def store(path: Path, content: bytes) -> None:
    """Replace the file. Raises OSError."""
    draft = path.with_suffix(".new")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    draft.replace(path)
