"""Networks that are cut in one direction, for as long as it takes.

A pair of members has one connection for both directions, so a cut of one direction delays what is
said in it, and the connection ends when silence is noticed; it is made again when both directions
are whole. Whatever is cut, a majority that can talk keeps a leader or finds one in bounded time,
and goes on while the cut lasts.
"""

import logging
from collections.abc import Callable

import pytest

from tests.sim.member import ELECTION_MS
from tests.sim.network import SILENCE
from tests.sim.world import World

#: Seconds of the cut: far longer than silence takes to be noticed.
CUT = 2.5 * SILENCE
#: Without a leader for so long at most: CheckQuorum (1 election timeout), a timer that runs out (1
#: to 2), and as much again, for an election may be split.
BOUND = 6 * ELECTION_MS / 1000

Links = Callable[[int, list[int]], list[tuple[int, int]]]

CUTS: dict[str, Links] = {
    "the leader hears nobody": lambda leader, others: [(one, leader) for one in others],
    "nobody hears the leader": lambda leader, others: [(leader, one) for one in others],
    "the leader does not hear one": lambda leader, others: [(others[0], leader)],
    "one does not hear the leader": lambda leader, others: [(leader, others[0])],
    "two do not hear a third": lambda leader, others: [
        *((others[0], one) for one in others[1:]),
        (others[0], leader),
    ],
    "followers do not hear each other": lambda leader, others: [
        (one, other) for one in others for other in others if one < other
    ],
}


def _ring(members: list[int]) -> list[tuple[int, int]]:
    after = dict(zip(members, members[1:] + members[:1], strict=True))
    return [(a, b) for a in members for b in members if a != b and after[a] != b]


class OneWay(World):
    """Three members, or five, a leader, and a cut that stays."""

    def __init__(self, seed: int, size: int, links: Links) -> None:
        super().__init__(seed, quiet=True)
        self.size = size
        self._links = links
        #: The longest time without an acknowledged write, from the cut on.
        self.gap = 0.0

    async def _quiet_trouble(self) -> None:
        await self._until(self._leads_and_follows, "a first leader")
        await self._wait(0.2)
        leader = self._leader()
        assert leader is not None
        others = [member for member in self.hosts if member != leader.member]
        self.chance.shuffle(others)
        self.network.cut |= set(self._links(leader.member, others))
        began = last = self.loop.now
        written = len(self.acknowledged)
        while self.loop.now < began + CUT:
            await self._wait(0.02)
            if len(self.acknowledged) > written:
                written = len(self.acknowledged)
                last = self.loop.now
            self.gap = max(self.gap, self.loop.now - last)


def after(seed: int, size: int, links: Links) -> OneWay:
    """A world whose cut has been healed, and that was well in the end."""
    logging.disable(logging.CRITICAL)
    try:
        world = OneWay(seed, size, links)
        world.run()
        return world
    finally:
        logging.disable(logging.NOTSET)


@pytest.mark.parametrize(("size", "seed"), [(3, 1), (3, 2), (5, 3)])
@pytest.mark.parametrize("cut", CUTS)
def test_a_cut_in_one_direction_leaves_a_leader_or_brings_one_soon(
    cut: str, size: int, seed: int
) -> None:
    assert after(seed, size, CUTS[cut]).gap < BOUND


def test_where_no_two_can_talk_both_ways_nothing_is_written_until_they_can() -> None:
    # (Measured from the last write before the cut, at the steps of the virtual clock.)
    assert after(1, 3, lambda leader, others: _ring([leader, *others])).gap >= CUT - 0.1
