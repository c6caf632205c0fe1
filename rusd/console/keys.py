"""Pages of keys that etcd's API has no call for: a level of their tree, and the changes of one.

- `level?prefix=&separator=&start=&revision=&limit=` what lies below a prefix, up to the next
  separator (`levels.py`)
- `history?key=&last=&limit=` the changes of a key that can still be read, newest first

Keys are base64, as in the gateway; 64-bit integers in answers are strings.

A page asks the table of methods for a txn that reads the range in the branch that is not taken: the
guards, a read index and the permission for the range are those of every call, and nothing is read
by it. Then the page reads the store at the revision of the answer.
"""

import base64
import binascii
from collections.abc import Callable

from rusd.base import sliced
from rusd.console.json_pages import JsonPages, number
from rusd.console.levels import behind, level
from rusd.mvcc.interval import FROM_KEY
from rusd.mvcc.store import Store
from rusd.proto import rpc_pb2 as rpc
from rusd.rpc.errors import Code, EtcdError
from rusd.rpc.pages import Page, PageRequest

_USUAL = str.maketrans("-_", "+/")
_TXN = "/etcdserverpb.KV/Txn"
#: Entries of a level, or changes of a key, in one answer.
PAGE = 100


class KeyPages:
    """The pages of one member."""

    def __init__(self, pages: JsonPages, store: Callable[[], Store]) -> None:
        self._pages = pages
        self._store = store

    def pages(self) -> dict[str, Page]:
        """Name below `/console/api/` -> page."""
        page = self._pages.page
        return {"level": page(self._level), "history": page(self._history)}

    async def _level(self, request: PageRequest) -> object:
        prefix, separator = _bytes(request, "prefix"), _bytes(request, "separator")
        start, limit = _bytes(request, "start"), _limit(request)
        revision = number(request, "revision") or 0
        now = await self._permitted(request, prefix or FROM_KEY, behind(prefix) or FROM_KEY)
        store = self._store()
        if revision > now:
            # (This member may have applied more since.)
            store.check_readable(revision)
        reading = level(store, prefix, separator, start, revision or now, limit)
        found = await sliced.run(reading)
        return {
            "revision": str(revision or now),
            "entries": [
                {"name": _text(name), "key": None if key is None else _numbers(key)}
                for name, key in found.entries
            ],
            "following": None if found.following is None else _text(found.following),
        }

    async def _history(self, request: PageRequest) -> object:
        key, limit = _bytes(request, "key"), _limit(request)
        now = await self._permitted(request, key, b"")
        last = number(request, "last") or now
        store = self._store()
        found, more = await sliced.run(store.versions(key, min(last, now), limit))
        return {
            "revision": str(now),
            "first_revision": str(max(store.compact_revision, 1)),
            "versions": [
                {
                    "revision": str(one.revision),
                    "deleted": one.deleted,
                    "create_revision": str(one.create_revision),
                    "version": str(one.version),
                    "lease": str(one.lease),
                    "size": one.size,
                }
                for one in found
            ],
            "more": more,
        }

    async def _permitted(self, request: PageRequest, key: bytes, range_end: bytes) -> int:
        """Return a revision that all writes acknowledged before have reached. Raises a refusal if
        the caller may not read the range.
        """
        asked = rpc.RangeRequest(key=key, range_end=range_end)
        txn = rpc.TxnRequest(failure=[rpc.RequestOp(request_range=asked)])
        response = await self._pages.called(_TXN, txn, request)
        revision: int = rpc.TxnResponse.FromString(response).header.revision
        return revision


def _bytes(request: PageRequest, name: str) -> bytes:
    try:
        # (Of either alphabet: in the usual one, a query is up to three times as long.)
        text = request.query.get(name, [""])[0].translate(_USUAL)
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise EtcdError(Code.INVALID_ARGUMENT, f"{name} is not base64") from None


def _limit(request: PageRequest) -> int:
    return min(max(number(request, "limit") or PAGE, 1), PAGE)


def _text(name: bytes) -> str:
    return base64.b64encode(name).decode()


def _numbers(key: tuple[int, int, int, int, int]) -> dict[str, object]:
    create, mod, version, lease, size = key
    return {
        "create_revision": str(create),
        "mod_revision": str(mod),
        "version": str(version),
        "lease": str(lease),
        "size": size,
    }
