"""Errors of a store on disk."""


class StorageError(Exception):
    """The store cannot be opened, read or written; the message names its directory."""


class StorageLocked(StorageError):
    """Another process (or this one) has the store open."""
