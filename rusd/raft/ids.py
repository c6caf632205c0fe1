"""Sequence numbers that identify a member's own requests and proposals.

A message may outlive the process that caused it: the leader may answer a request of a member that
was restarted meanwhile, over the new connection, and entries of an earlier incarnation are
applied again after a restart. The numbers of each incarnation therefore begin at a random number,
so that none is used twice.
"""

import secrets


def first_number() -> int:
    """Returns the first number of this start; counting up from it stays below 2^63."""
    return secrets.randbits(62)
