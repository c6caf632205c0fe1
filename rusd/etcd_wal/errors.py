"""Errors of the log's format."""


class WalError(Exception):
    """The log is damaged, or is not one that etcd writes. The text names segment and position."""
