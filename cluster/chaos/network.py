"""The links between members: one rule for each direction.

A `Network` is attached before the members start, gets rules while they run, and is healed.
There are two of them: `proxy` (works everywhere) and `namespaces` (needs the right to make network
namespaces).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Rule:
    """The treatment of packets from one member to another."""

    #: No packet arrives, and neither end is notified.
    cut: bool = False
    #: Seconds everything is late, and by how much more at random.
    delay: float = 0.0
    jitter: float = 0.0
    #: Part of the packets that are lost (and sent again by TCP).
    loss: float = 0.0


CLEAR = Rule()
CUT = Rule(cut=True)

#: (sender, receiver): indexes of members.
Link = tuple[int, int]


class Network(Protocol):
    """Links between the members of one cluster."""

    #: Kinds of rules it can do: "cut", "delay", "loss".
    able: frozenset[str]

    def set(self, links: Iterable[Link], rule: Rule) -> None:
        """From now on this rule holds for these links."""

    def heal(self) -> None:
        """No rule holds any more."""

    def close(self) -> None:
        """Undo everything."""


class NoNetwork:
    """Members talk directly; no rule can be set."""

    able: frozenset[str] = frozenset()

    def set(self, links: Iterable[Link], rule: Rule) -> None:
        raise NotImplementedError("this network cannot be broken")

    def heal(self) -> None:
        """Nothing is broken."""

    def close(self) -> None:
        """Nothing is held."""
