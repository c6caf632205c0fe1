"""Environments of the clients that docs/testing.md shows: a directory with packages for each."""
