"""A network of namespaces: every member has its own network interfaces and packet filter.

    member i in namespace ──veth── bridge ──veth── namespace of member j
                                     │veth
                                  clients (this machine)

The bridge has its own namespace, so that packet filters of this machine (Docker's, say) do not
apply.

Links are cut and made lossy by the kernel's packet filter in the receiver's namespace (iptables),
so that members receive nothing, as with a pulled cable. Delay needs the kernel's netem, and is
available only with it. Requires Linux and root; `obstacle` returns the reason if unavailable.

Names contain the process id of the run. The next run removes the namespaces of a killed run.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable

from .network import Link, Rule

_NAME = re.compile(r"rc(\d+)(b|h|m\d+)")
#: 198.18.0.0/15 is set aside for tests of networks.
_PREFIX = "198.18"


class NamespaceNetwork:
    """Namespaces for `size` members; made when constructed."""

    def __init__(self, size: int) -> None:
        remove_left_behind()
        self._tag = f"rc{os.getpid()}"
        self._size = size
        self._subnet = f"{_PREFIX}.{os.getpid() % 250}"
        self._rules: dict[Link, Rule] = {}
        self.able = frozenset(("cut", "loss"))
        try:
            self._make()
            if _netem(self.namespace(0)):
                self.able |= {"delay"}
        except BaseException:
            self.close()
            raise

    def namespace(self, member: int) -> str:
        """Return the name of a member's namespace."""
        return f"{self._tag}m{member}"

    def address(self, member: int) -> str:
        return f"{self._subnet}.{member + 10}"

    def enter(self, member: int) -> list[str]:
        """Returns the prefix of a command that runs it in a member's namespace (as one process)."""
        return ["ip", "netns", "exec", self.namespace(member)]

    def set(self, links: Iterable[Link], rule: Rule) -> None:
        for link in links:
            self._rules[link] = rule
        self._apply()

    def heal(self) -> None:
        self._rules.clear()
        self._apply()

    def close(self) -> None:
        remove(self._tag)

    def _make(self) -> None:
        middle, host = f"{self._tag}b", f"{self._tag}h"
        _ip("netns", "add", middle)
        _ip("-n", middle, "link", "add", "bridge", "type", "bridge")
        _ip("-n", middle, "link", "set", "bridge", "up")
        _ip("link", "add", host, "type", "veth", "peer", "name", "host", "netns", middle)
        _ip("-n", middle, "link", "set", "host", "master", "bridge", "up")
        _ip("address", "add", f"{self._subnet}.1/24", "dev", host)
        _ip("link", "set", host, "up")
        for member in range(self._size):
            name = self.namespace(member)
            _ip("netns", "add", name)
            inside = ("-n", name)
            end = f"member{member}"
            _ip(
                *inside, "link", "add", "eth0", "type", "veth", "peer", "name", end, "netns", middle
            )
            _ip("-n", middle, "link", "set", end, "master", "bridge", "up")
            _ip(*inside, "address", "add", f"{self.address(member)}/24", "dev", "eth0")
            _ip(*inside, "link", "set", "lo", "up")
            _ip(*inside, "link", "set", "eth0", "up")

    def _apply(self) -> None:
        """Replace every member's filter, each atomically."""
        for member in range(self._size):
            rules = []
            for (sender, receiver), rule in sorted(self._rules.items()):
                if receiver == member and (rule.cut or rule.loss):
                    chance = (
                        ""
                        if rule.cut
                        else f" -m statistic --mode random --probability {rule.loss:.4f}"
                    )
                    rules.append(f"-A INPUT -s {self.address(sender)}/32{chance} -j DROP")
            _filter(self.enter(member), rules)
            if "delay" in self.able:
                self._delay(member)

    def _delay(self, member: int) -> None:
        """Delay everything that a member sends (netem needs classes to tell receivers apart)."""
        late = [
            rule for (sender, _), rule in self._rules.items() if sender == member and rule.delay
        ]
        command = [*self.enter(member), "tc", "qdisc"]
        subprocess.run([*command, "del", "dev", "eth0", "root"], capture_output=True)
        if late:
            rule = late[0]
            times = [f"{rule.delay * 1000:.0f}ms", f"{rule.jitter * 1000:.0f}ms"]
            add = [*command, "add", "dev", "eth0", "root", "netem", "delay", *times]
            subprocess.run(add, check=True, capture_output=True)


def obstacle() -> str | None:
    """Returns why namespaces cannot be used here; None if they can."""
    if os.geteuid() != 0:
        return "it needs the rights of root"
    for command, package in (("ip", "iproute2"), ("iptables-restore", "iptables")):
        if shutil.which(command) is None:
            return f"the command {command} is missing (package {package})"
    name = f"rc{os.getpid()}m99"
    try:
        _ip("netns", "add", name)
        _filter(["ip", "netns", "exec", name], [])
    except OSError as error:
        return str(error)
    finally:
        subprocess.run(["ip", "netns", "delete", name], capture_output=True)
    return None


def remove_left_behind() -> None:
    """Remove namespaces and bridges of killed runs."""
    for tag in {f"rc{pid}" for pid, _ in _NAME.findall(_names()) if not _alive(int(pid))}:
        remove(tag)


def remove(tag: str) -> None:
    """Remove everything that one run made."""
    for pid, part in set(_NAME.findall(_names())):
        if f"rc{pid}" == tag:
            what = ("link", "delete") if part == "h" else ("netns", "delete")
            subprocess.run(["ip", *what, tag + part], capture_output=True)


def _names() -> str:
    shown = [
        subprocess.run(["ip", *words], capture_output=True, text=True).stdout
        for words in (("netns", "list"), ("-brief", "link", "show", "type", "veth"))
    ]
    return "\n".join(shown)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _netem(namespace: str) -> bool:
    command = ["ip", "netns", "exec", namespace, "tc", "qdisc", "add", "dev", "lo", "root", "netem"]
    made = subprocess.run([*command, "delay", "0ms"], capture_output=True)
    if made.returncode == 0:
        removal = [*command[:5], "qdisc", "del", "dev", "lo", "root"]
        subprocess.run(removal, capture_output=True)
    return made.returncode == 0


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")


def _filter(enter: list[str], rules: list[str]) -> None:
    """Replace the packet filter of the namespace that the command `enter` enters."""
    chains = [f":{name} ACCEPT [0:0]" for name in ("INPUT", "FORWARD", "OUTPUT")]
    text = "\n".join(["*filter", *chains, *rules, "COMMIT", ""])
    done = subprocess.run([*enter, "iptables-restore"], input=text.encode(), capture_output=True)
    if done.returncode:
        raise OSError(f"iptables-restore: {done.stderr.decode(errors='replace').strip()}")
