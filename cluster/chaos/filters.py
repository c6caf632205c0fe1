"""Rules of links, carried out in the network namespaces of members.

Links are cut and made lossy by the kernel's packet filter in the receiver's namespace (iptables),
so that members receive nothing, as with a pulled cable. Delay needs the kernel's netem, and is
available only with it. All commands are those of this machine, run inside the namespaces.
"""

from __future__ import annotations

import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

from .network import Link, Rule


class FilteredNetwork(ABC):
    """A network whose members have one namespace each, with the interface eth0."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.able = frozenset(("cut", "loss"))
        self._rules: dict[Link, Rule] = {}

    @abstractmethod
    def enter(self, member: int) -> list[str]:
        """Return the prefix of a command that runs it in a member's namespace; empty if there is
        none at present.
        """

    @abstractmethod
    def address(self, member: int) -> str:
        """Return the address of a member."""

    @abstractmethod
    def close(self) -> None: ...

    def set(self, links: Iterable[Link], rule: Rule) -> None:
        for link in links:
            self._rules[link] = rule
        self._apply()

    def heal(self) -> None:
        self._rules.clear()
        self._apply()

    def look_for_netem(self, enter: Sequence[str]) -> None:
        """Add "delay" to `able` if netem works in the namespace that `enter` enters."""
        command = [*enter, "tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "0ms"]
        if subprocess.run(command, capture_output=True).returncode == 0:
            removal = [*enter, "tc", "qdisc", "del", "dev", "lo", "root"]
            subprocess.run(removal, capture_output=True)
            self.able |= {"delay"}

    def apply_to(self, member: int) -> None:
        """Replace the filter of a member, atomically."""
        enter = self.enter(member)
        if not enter:
            return
        rules = []
        for (sender, receiver), rule in sorted(self._rules.items()):
            if receiver == member and (rule.cut or rule.loss):
                chance = (
                    "" if rule.cut else f" -m statistic --mode random --probability {rule.loss:.4f}"
                )
                rules.append(f"-A INPUT -s {self.address(sender)}/32{chance} -j DROP")
        replace(enter, rules)
        if "delay" in self.able:
            self._delay(member, enter)

    def _apply(self) -> None:
        for member in range(self.size):
            self.apply_to(member)

    def _delay(self, member: int, enter: list[str]) -> None:
        """Delay everything that a member sends (netem needs classes to tell receivers apart)."""
        late = [
            rule for (sender, _), rule in self._rules.items() if sender == member and rule.delay
        ]
        command = [*enter, "tc", "qdisc"]
        subprocess.run([*command, "del", "dev", "eth0", "root"], capture_output=True)
        if late:
            rule = late[0]
            times = [f"{rule.delay * 1000:.0f}ms", f"{rule.jitter * 1000:.0f}ms"]
            add = [*command, "add", "dev", "eth0", "root", "netem", "delay", *times]
            subprocess.run(add, check=True, capture_output=True)


def replace(enter: Sequence[str], rules: Sequence[str]) -> None:
    """Replace the packet filter of the namespace that `enter` enters. Raises OSError."""
    chains = [f":{name} ACCEPT [0:0]" for name in ("INPUT", "FORWARD", "OUTPUT")]
    text = "\n".join(["*filter", *chains, *rules, "COMMIT", ""])
    done = subprocess.run([*enter, "iptables-restore"], input=text.encode(), capture_output=True)
    if done.returncode:
        raise OSError(f"iptables-restore: {done.stderr.decode(errors='replace').strip()}")
