"""`python -m rusd.ctl`: the command `rusdctl`."""

from .command import console

console()
