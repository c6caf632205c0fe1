"""Builds a `Config` from the command line, the environment or a YAML file.

There are two steps, so that `--help` and `--version` need no valid configuration:
`parse_arguments` splits the command line as Go's flag package does; `load` chooses the source and
fills the dataclass.

With `--config-file` (or ETCD_CONFIG_FILE) the file is the only source. Otherwise a flag is taken
from the command line, else from `ETCD_<NAME>`. A flag that is given in both is refused, as in etcd.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rusd.config import parsers, tls
from rusd.config.check import check
from rusd.config.config import DEFAULT_SNAPSHOT_COUNT, FLAGS, Config, ConfigError, Flag, UsageError
from rusd.config.unsupported_flags import OLD_SPELLINGS, UNSUPPORTED, WITHOUT_EFFECT

#: Variables that belong to etcd's tools and tests, not to a flag.
_NOT_FLAGS = frozenset(("ETCD_VERSION", "ETCD_VERIFY", "ETCD_UNSUPPORTED_ARCH"))


def _known() -> dict[str, Flag]:
    known = {
        name: Flag(name, foreign.parse, foreign.default, "", "")
        for name, foreign in (*UNSUPPORTED.items(), *WITHOUT_EFFECT.items())
    }
    known |= {old: known[name] for old, name in OLD_SPELLINGS.items()}
    for flag in FLAGS:
        known |= dict.fromkeys((flag.name, *flag.aliases), flag)
    known["config-file"] = Flag("config-file", parsers.text, "", "", "")
    return known


#: Every spelling that is accepted.
KNOWN: dict[str, Flag] = _known()


@dataclass(frozen=True)
class Arguments:
    """A parsed command line; its values are not yet checked against each other."""

    #: Flag name (canonical) -> typed value.
    values: Mapping[str, Any] = field(default_factory=dict)
    help: bool = False
    version: bool = False
    #: The first word that is neither a flag nor its value.
    stray: str | None = None


@dataclass(frozen=True)
class Loaded:
    """A checked configuration, and notes about it for the log."""

    config: Config
    notes: tuple[str, ...] = ()


def parse_arguments(argv: Sequence[str]) -> Arguments:
    """Read flags as Go does: -flag, --flag, --flag=value, --flag value. UsageError if it cannot.

    Everything before a `--help` must be readable, nothing after it is looked at.
    """
    found: dict[str, Any] = {}
    version = False
    words = list(argv)
    while words:
        word = words.pop(0)
        if len(word) < 2 or not word.startswith("-"):
            return Arguments(found, version=version, stray=word)
        if word == "--":
            return Arguments(found, version=version, stray=words[0] if words else None)
        name, equals, value = word.removeprefix("-").removeprefix("-").partition("=")
        if not name or name.startswith("-"):
            raise UsageError(f"bad flag syntax: {word}")
        if name in ("h", "help"):
            return Arguments(help=True)
        if name == "version":
            version = _parse_bool(name, value) if equals else True
            continue
        flag = KNOWN.get(name)
        if flag is None:
            raise UsageError(f"flag provided but not defined: -{name}")
        if flag.is_bool:
            found[flag.name] = _parse_bool(name, value) if equals else True
            continue
        if not equals:
            if not words:
                raise UsageError(f"flag needs an argument: -{name}")
            value = words.pop(0)
        try:
            found[flag.name] = flag.parse(value)
        except ValueError as error:
            raise UsageError(f'invalid value "{value}" for flag -{name}: {error}') from None
    return Arguments(found, version=version)


def _parse_bool(name: str, value: str) -> bool:
    try:
        return parsers.boolean(value)
    except ValueError as error:
        raise UsageError(f'invalid boolean value "{value}" for -{name}: {error}') from None


def load(arguments: Arguments, environ: Mapping[str, str]) -> Loaded:
    """Return the checked configuration of `arguments` and `environ`. Raises ConfigError."""
    if arguments.stray is not None:
        raise ConfigError(f'"{arguments.stray}" is not a valid flag')
    path = arguments.values.get("config-file") or environ.get("ETCD_CONFIG_FILE")
    notes: list[str] = []
    if path:
        given = _from_file(Path(path), notes)
        notes.append(f"configuration read from {path}: flags and environment are ignored")
    else:
        given = {**_from_environment(environ, arguments.values, notes), **arguments.values}
        if "listen-client-urls" in given and "advertise-client-urls" not in given:
            raise ConfigError(
                "--advertise-client-urls is required when --listen-client-urls is set explicitly"
            )
    _check_foreign(given, notes)
    served = {flag.name for flag in FLAGS}
    chosen = {name.replace("-", "_"): value for name, value in given.items() if name in served}
    config = Config(**chosen)
    if config.snapshot_count == 0:
        config = replace(config, snapshot_count=DEFAULT_SNAPSHOT_COUNT)
    check(config)
    notes += tls.notes(config)
    return Loaded(config, tuple(notes))


def _from_environment(
    environ: Mapping[str, str], on_command_line: Mapping[str, Any], notes: list[str]
) -> dict[str, Any]:
    variables = {"ETCD_" + name.upper().replace("-", "_"): name for name in KNOWN}
    found: dict[str, Any] = {}
    for variable, value in environ.items():
        if not variable.startswith("ETCD_") or variable in _NOT_FLAGS:
            continue
        name = variables.get(variable)
        if name is None:
            notes.append(f"unrecognized environment variable {variable}")
            continue
        flag = KNOWN[name]
        if flag.name in on_command_line:
            raise ConfigError(
                f"environment variable {variable} is shadowed by flag --{flag.name}: remove one"
            )
        if value:
            try:
                found[flag.name] = flag.parse(value)
            except ValueError as error:
                raise ConfigError(f'invalid value "{value}" for {variable}: {error}') from None
    return found


def _check_foreign(given: Mapping[str, Any], notes: list[str]) -> None:
    for name, value in given.items():
        if name in UNSUPPORTED and value != UNSUPPORTED[name].default:
            raise ConfigError(
                f"--{name} is not possible: rusd does not support {UNSUPPORTED[name].subject} yet"
            )
        foreign = WITHOUT_EFFECT.get(name)
        if foreign is not None and foreign.note:
            notes.append(foreign.note)
            continue
        if foreign is not None and foreign.default not in (None, value):
            notes.append(f"--{name} is accepted but has no effect in rusd")


def _from_file(path: Path, notes: list[str]) -> dict[str, Any]:
    import yaml  # here, so that a member without such a file need not wait for it

    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    except RecursionError:
        raise ConfigError(f"{path} is not valid YAML: it is nested too deeply") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: no UTF-8, a date or number of none
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path} is not valid YAML: {reason}") from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigError(f"{path} must map flag names to values")
    found: dict[str, Any] = {}
    for key, value in _with_sections(document, path).items():
        flag = KNOWN.get(key)
        if flag is None or flag.name == "config-file":
            notes.append(f"unrecognized key {key} in {path}")
        elif value is not None and (value != "" or flag.parse is parsers.text):
            found[flag.name] = _yaml_value(flag, value, path)
    return found


def _with_sections(document: Mapping[Any, Any], path: Path) -> dict[str, Any]:
    """Return the document with etcd's sections as flags."""
    plain: dict[str, Any] = {}
    sections: dict[str, Any] = {}
    # Keys in any case, as etcd reads them.
    for key, value in ((str(key).lower(), value) for key, value in document.items()):
        keys = _SECTIONS.get(key)
        if keys is None:
            plain[key] = value
        elif isinstance(value, dict):
            for name, asked in ((str(name).lower(), asked) for name, asked in value.items()):
                flag = keys.get(name)
                if flag is not None:
                    sections[flag] = asked
                elif asked:
                    raise ConfigError(f"{key}: {name} in {path}: rusd does not support this yet")
        elif value is not None:
            raise ConfigError(f"invalid {key} in {path}")
    return plain | sections


_TLS_KEYS = (
    "cert-file",
    "key-file",
    "client-cert-file",
    "client-key-file",
    "client-cert-auth",
    "trusted-ca-file",
    "auto-tls",
)
#: Section -> its keys -> flags.
_SECTIONS: dict[str, dict[str, str]] = {
    "socket-options": {
        "reuse-port": "socket-reuse-port",
        "reuse-address": "socket-reuse-address",
    },
    "client-transport-security": {
        **{name: name for name in _TLS_KEYS},
        "allowed-hostname": "client-cert-allowed-hostname",
    },
    "peer-transport-security": {
        **{name: f"peer-{name}" for name in _TLS_KEYS},
        "allowed-cn": "peer-cert-allowed-cn",
        "allowed-hostname": "peer-cert-allowed-hostname",
        "skip-client-san-verification": "peer-skip-client-san-verification",
    },
}


def _yaml_value(flag: Flag, value: Any, path: Path) -> Any:
    """Convert a YAML scalar or list to the type of the flag. A bare number is nanoseconds."""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    try:
        if flag.is_bool:
            if not isinstance(value, bool):
                raise ValueError("must be true or false")
            return value
        if flag.parse is parsers.duration and is_number:
            return value / 10**9
        if isinstance(value, list) and all(isinstance(one, str) for one in value):
            return flag.parse(",".join(value))
        if is_number:
            return flag.parse(str(value))
        if isinstance(value, str) and not isinstance(flag.default, int):
            return flag.parse(value)
        raise ValueError("wrong type")
    except ValueError as error:
        raise ConfigError(f"invalid value {value!r} for {flag.name} in {path}: {error}") from None
