"""An overlay finds the keys of an interval without looking at all it holds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rusd.mvcc.overlay import Overlay

keys = st.binary(min_size=1, max_size=2)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.lists(keys, max_size=40)),
        st.tuples(st.just("within"), st.tuples(keys, st.one_of(keys, st.none()))),
        st.tuples(st.just("remove"), st.tuples(keys, keys)),
    )
)


@given(steps)
def test_keys_of_an_interval_are_those_a_search_of_all_would_find(steps: list[object]) -> None:
    overlay = Overlay()
    known: set[bytes] = set()
    for kind, argument in steps:  # type: ignore[misc]
        if kind == "put":
            overlay.versions.update(dict.fromkeys(argument))
            known |= set(argument)
            continue
        start, end = argument
        inside = sorted(key for key in known if key >= start and (end is None or key < end))
        if kind == "within":
            assert overlay.within(start, end) == inside
            gone = any(start < u and (end is None or s < end) for s, u in overlay.deleted_intervals)
            assert overlay.touches(start, end) == (bool(inside) or gone)
        else:
            overlay.remove(start, end)
            known -= set(inside)
        assert overlay.versions.keys() == known


class Compared(bytes):
    """A key that counts how often it is compared."""

    compared = 0

    def __lt__(self, other: object) -> bool:
        Compared.compared += 1
        return bytes.__lt__(self, other)  # type: ignore[operator]


def test_a_small_interval_costs_little_beside_many_changes() -> None:
    overlay = Overlay()
    for number in range(20_000):
        overlay.versions[Compared(b"%06d" % number)] = None
    overlay.within(b"000000", b"000001")
    Compared.compared = 0
    for number in range(100):
        overlay.versions[Compared(b"x%06d" % number)] = None
        assert len(overlay.within(b"%06d" % number, b"%06d" % (number + 3))) == 3
    assert Compared.compared < 100 * 200
