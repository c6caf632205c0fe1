"""Errors that end a healthy member for good."""


class Removed(Exception):
    """This member's own log removed it from the cluster. The process ends with exit code 0."""


class RemovedByPeers(Exception):
    """Peers report that this member was removed; its own log does not say so.

    The process ends with a failure, as etcd's does.
    """
