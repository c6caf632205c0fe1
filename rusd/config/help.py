"""The text of `rusd --help`: every flag with its default, in groups."""

from collections.abc import Iterable
from itertools import groupby

from rusd.config import parsers
from rusd.config.config import FLAGS, Flag
from rusd.config.unsupported_flags import UNSUPPORTED, WITHOUT_EFFECT

_USAGE = """\
Usage:

  rusd [flags]
    Start a member. Flags, ETCD_* variables and the configuration file are etcd's.

  rusd doctor [ENDPOINT ...]
    Say what is wrong with a cluster of rusd or etcd, and what to do.

  rusd top [ENDPOINT ...]
    Show what its members do, in a terminal.

  rusd explain KEY | REVISION
    Tell the history of a key, or what a revision changed.

  rusd --version
    Print the version.

  rusd -h | --help
    Print this help.

  rusd --config-file <path>
    Read the configuration from a YAML file; other flags and ETCD_* variables are ignored.
"""


def help_text() -> str:
    """The whole help, ready to print."""
    parts = [_USAGE]
    for group, flags in groupby(FLAGS, key=lambda flag: flag.group):
        parts.append(f"{group}:\n" + "".join(map(_entry, flags)))
    parts.append("Accepted, without effect:\n" + _names(WITHOUT_EFFECT))
    parts.append(
        "Not supported yet, refused unless left at etcd's default:\n" + _names(UNSUPPORTED)
    )
    return "\n".join(parts)


def _entry(flag: Flag) -> str:
    also = "".join(f"\n    Also --{name}." for name in flag.aliases)
    return f"  --{flag.name} '{_default(flag)}'\n    {flag.help}{also}\n"


def _default(flag: Flag) -> str:
    if flag.name == "data-dir":
        return "${name}.etcd"
    if flag.parse is parsers.boolean:
        return "true" if flag.default else "false"
    if flag.parse is parsers.duration:
        return parsers.show_duration(flag.default)
    return ",".join(flag.default) if isinstance(flag.default, tuple) else str(flag.default)


def _names(table: Iterable[str]) -> str:
    return "".join(f"  --{name}\n" for name in sorted(table))
