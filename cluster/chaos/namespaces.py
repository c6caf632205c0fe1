"""A network of namespaces: every member has its own network interfaces and packet filter.

    member i in namespace ──veth── bridge ──veth── namespace of member j
                                     │veth
                                  clients (this machine)

The bridge has its own namespace, so that packet filters of this machine (Docker's, say) do not
apply.

`filters` carries out the rules. Requires Linux and root; `obstacle` returns the reason if
unavailable.

Names contain the process id of the run. The next run removes the namespaces of a killed run.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess

from . import filters
from .filters import FilteredNetwork

_NAME = re.compile(r"rc(\d+)(b|e|h|m\d+)")
#: 198.18.0.0/15 is set aside for tests of networks.
_PREFIX = "198.18"


class NamespaceNetwork(FilteredNetwork):
    """Namespaces for `size` members; made when constructed."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        remove_left_behind()
        self._tag = f"rc{os.getpid()}"
        self._subnet = f"{_PREFIX}.{os.getpid() % 250}"
        try:
            self._make()
            self.look_for_netem(self.enter(0))
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

    def close(self) -> None:
        remove(self._tag)

    def _make(self) -> None:
        middle, host = f"{self._tag}b", f"{self._tag}h"
        ip("netns", "add", middle)
        ip("-n", middle, "link", "add", "bridge", "type", "bridge")
        ip("-n", middle, "link", "set", "bridge", "up")
        ip("link", "add", host, "type", "veth", "peer", "name", "host", "netns", middle)
        ip("-n", middle, "link", "set", "host", "master", "bridge", "up")
        ip("address", "add", f"{self._subnet}.1/24", "dev", host)
        ip("link", "set", host, "up")
        for member in range(self.size):
            name = self.namespace(member)
            ip("netns", "add", name)
            inside = ("-n", name)
            end = f"member{member}"
            ip(*inside, "link", "add", "eth0", "type", "veth", "peer", "name", end, "netns", middle)
            ip("-n", middle, "link", "set", end, "master", "bridge", "up")
            ip(*inside, "address", "add", f"{self.address(member)}/24", "dev", "eth0")
            ip(*inside, "link", "set", "lo", "up")
            ip(*inside, "link", "set", "eth0", "up")


def obstacle() -> str | None:
    """Returns why namespaces cannot be used here; None if they can."""
    if os.geteuid() != 0:
        return "it needs the rights of root"
    for command, package in (("ip", "iproute2"), ("iptables-restore", "iptables")):
        if shutil.which(command) is None:
            return f"the command {command} is missing (package {package})"
    name = f"rc{os.getpid()}m99"
    try:
        ip("netns", "add", name)
        filters.replace(["ip", "netns", "exec", name], [])
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


def ip(*words: str) -> None:
    """Run a command of iproute2. Raises OSError."""
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")
