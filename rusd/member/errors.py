"""Why a member that is not broken ends for good."""


class Removed(Exception):
    """By this member's own log it was removed from the cluster. The process ends with success."""


class RemovedByPeers(Exception):
    """Peers report that this member was removed; its own log does not say so.

    The process ends with a failure, as etcd's does.
    """
