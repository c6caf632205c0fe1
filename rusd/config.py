"""What one member is told at start: etcd's flags as one frozen, typed `Config`.

The dataclass below is the only table of the flags rusd serves: the field's name is the flag's name
with `_` for `-`, its default is etcd's default, its metadata holds the parser, the help text and
older spellings. Everything else is derived from it: `config_load` fills it from the command line,
the environment or a YAML file, `config_check` refuses contradictions, `config_help` prints it.
Flags of etcd that rusd does not serve are listed in `config_etcd`.

Units: `heartbeat_interval` and `election_timeout` are milliseconds as in etcd; every other time is
in seconds. URLs are sorted tuples of text.

    argv, environ ──► config_load.load() ──► Loaded(config, notes) ──► Member(config)
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

from rusd import config_values as values


class ConfigError(Exception):
    """The configuration cannot be used; one line that says why. The process exits with 1."""


class UsageError(ConfigError):
    """The command line itself cannot be read. The process exits with 2."""


class Flag(NamedTuple):
    """How one flag is read and described."""

    name: str
    parse: values.Parser
    default: Any
    group: str
    help: str
    #: Older spellings that still work.
    aliases: tuple[str, ...]

    @property
    def is_bool(self) -> bool:
        """Bool flags may stand without a value."""
        return self.parse is values.boolean


def _flag[T](
    default: T, parse: values.Parser, group: str, help: str, aliases: tuple[str, ...] = ()
) -> T:
    metadata = {"parse": parse, "group": group, "help": help, "aliases": aliases}
    made: T = field(default=default, metadata=metadata)
    return made
