"""Errors of files of snapshots."""


class SnapshotError(Exception):
    """A file is no whole snapshot of etcd's, or one that cannot be restored. Says what is wrong."""
