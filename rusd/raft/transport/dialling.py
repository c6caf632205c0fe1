"""Which of two members dials the other, and which of two connections between them counts.

    the higher id   dials whenever there is no connection
    the lower id    dials too once there was none for PATIENCE: the other does not get through,
                    for a firewall, for NAT, or for a certificate that does not fit its address

A pair keeps one connection, and neither dials while it has one. If both dial at the same time the
lower id decides: the first one counts that it has accepted, or that was answered on its own hello.
It ends or refuses the other, and the higher id takes the one on which it got an answer. Of two that
were not made at the same time the later one counts, since its dialler has seen the end of the one
before; but a member that has dialled the lower id keeps that one until it sees its end.

In earlier releases the higher id alone dials, and the newest connection counts.
"""

#: Seconds without a connection after which the lower id dials too.
PATIENCE = 2.0


def patience(member: int, peer: int) -> float:
    """Return the seconds without a connection after which `member` dials `peer`."""
    return 0.0 if member > peer else PATIENCE


def replaces(dialler: int, dialler_of_old: int) -> bool:
    """Return whether a new connection of a pair replaces the one that counts, by the ids of the
    members that dialled them.
    """
    return dialler >= dialler_of_old
