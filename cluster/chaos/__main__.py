"""`python -m cluster.chaos`."""

from .command import console

console()
