"""Timers that run late do not judge clients.

While the loop or the whole process stands still (SIGSTOP, a suspended machine) nothing is read, and
what clients sent in time waits in the kernel. A timer that is due then may run before it is read.
"""

#: Seconds by which a timer may be late and still judge.
LATE_SECONDS = 1.0


def is_late(due: float, now: float) -> bool:
    """Return whether a timer that was due at `due` runs late."""
    return now - due > LATE_SECONDS
