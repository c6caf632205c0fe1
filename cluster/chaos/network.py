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
    """Delivery of packets from one member to another."""

    #: No packet arrives, and neither end is notified.
    cut: bool = False
    #: Seconds of delay, and the maximum of random additional delay.
    delay: float = 0.0
    jitter: float = 0.0
    #: Share of the packets that are lost (and retransmitted by TCP).
    loss: float = 0.0


CLEAR = Rule()
CUT = Rule(cut=True)

#: (sender, receiver): indexes of members.
Link = tuple[int, int]


class Network(Protocol):
    """Links between the members of one cluster."""

    #: Supported kinds of rules: "cut", "delay", "loss".
    able: frozenset[str]

    def set(self, links: Iterable[Link], rule: Rule) -> None:
        """Apply this rule to these links from now on."""

    def heal(self) -> None:
        """Remove all rules."""

    def close(self) -> None:
        """Undo everything."""


class NoNetwork:
    """Members talk directly; no rule can be set."""

    able: frozenset[str] = frozenset()

    def set(self, links: Iterable[Link], rule: Rule) -> None:
        raise NotImplementedError("this network cannot be broken")

    def heal(self) -> None:
        """Do nothing: there are no rules."""

    def close(self) -> None:
        """Do nothing: there are no resources."""
