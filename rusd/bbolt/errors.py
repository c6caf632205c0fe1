"""Errors of the file format."""


class BboltError(Exception):
    """The bytes are no valid bbolt file. The text names the page and what is wrong with it."""
