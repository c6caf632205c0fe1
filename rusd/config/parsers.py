"""Parsers of flag values in Go's notation, as on etcd's command line and in its environment.

Each parser takes the text of one value and returns it typed, or raises ValueError with the reason
as a phrase ("parse error", "value out of range", …), to which the caller adds the flag's name.
Sources: the Go documentation of `flag`, `strconv.ParseBool`, `strconv.ParseInt` (base 0) and
`time.ParseDuration`.
"""

import json
import re
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

from rusd.base.log_rotation import Rotation
from rusd.base.urls import Url

_TRUE = frozenset(("1", "t", "T", "TRUE", "true", "True"))
_FALSE = frozenset(("0", "f", "F", "FALSE", "false", "False"))
_OLD_OCTAL = re.compile(r"([+-]?)0([0-7]+)")
_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
_DURATION = re.compile(rf"[+-]?(?:{_PART.pattern})+")
#: Nanoseconds in each unit; both code points of "micro" are in use.
_UNITS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
#: What a signed 64-bit count of nanoseconds holds, about 292 years.
LONGEST = 2**63 - 1


def boolean(text: str) -> bool:
    """Parse a bool in one of Go's twelve spellings. Raises ValueError."""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError("parse error")


def integer(low: int, high: int) -> Callable[[str], int]:
    """Parse whole numbers of [low, high]; 0x, 0o, 0b, a leading 0 and underscores as in Go."""

    def parse(text: str) -> int:
        octal = _OLD_OCTAL.fullmatch(text)
        if not text.isascii() or text != text.strip() or (low >= 0 and text[:1] in ("+", "-")):
            raise ValueError("parse error")
        try:
            number = int(f"{octal[1]}0o{octal[2]}" if octal else text, 0)
        except ValueError:
            raise ValueError("parse error") from None
        if not low <= number <= high:
            raise ValueError("value out of range")
        return number

    return parse


unsigned = integer(0, 2**64 - 1)
unsigned32 = integer(0, 2**32 - 1)
signed = integer(-(2**63), 2**63 - 1)


def duration(text: str) -> float:
    """Parse a Go duration such as `1h30m`, `250ms` or `0`; returns seconds. Raises ValueError."""
    if text in ("0", "+0", "-0"):
        return 0.0
    if not _DURATION.fullmatch(text):
        raise ValueError("parse error")
    total = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    if total > LONGEST:
        raise ValueError("value out of range")
    return (-total if text.startswith("-") else total) / 10**9


#: The feature gates of etcd 3.6 and 3.7.
GATES = frozenset(
    (
        "CompactHashCheck",
        "FastLeaseKeepAlive",
        "InitialCorruptCheck",
        "LeaseCheckpoint",
        "LeaseCheckpointPersist",
        "PriorityRequest",
        "SetMemberLocalAddr",
        "StopGRPCServiceOnDefrag",
        "TxnModeWriteWithSharedBuffer",
        "AllAlpha",
        "AllBeta",
    )
)


def feature_gates(text: str) -> tuple[str, ...]:
    """Return the names of the gates that `Name=true,Other=false` turns on, sorted."""
    given: dict[str, bool] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = part.partition("=")
        if not equals:
            raise ValueError(f"missing bool value for {name}")
        try:
            given[name.strip()] = boolean(value.strip())
        except ValueError:
            raise ValueError(f"invalid value of {name}={value}") from None
        if name.strip() not in GATES:
            raise ValueError(f"unrecognized feature gate: {name.strip()}")
    return tuple(sorted(name for name, on in given.items() if on))


def rotation(text: str) -> Rotation:
    """Parse the JSON of `--log-rotation-config-json`; unknown keys are ignored, as in Go."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"improperly formatted log rotation config: {error}") from None
    if document is None:
        return Rotation()
    if not isinstance(document, dict):
        raise ValueError("invalid log rotation config: it is no object")
    given: dict[str, Any] = {}
    for key, value in document.items():
        name = key.lower()
        if name not in Rotation._fields or value is None:
            continue
        kind = type(getattr(Rotation(), name))
        if type(value) is not kind or value < 0:
            raise ValueError(f"invalid log rotation config: {name} is no {kind.__name__}")
        given[name] = value
    return Rotation(**given)


def backup_retention(text: str) -> tuple[int | None, float | None]:
    """Parse `count=N`, `age=DURATION`, or both with a comma; None for what is not given."""
    given: dict[str, str] = {}
    for part in filter(None, text.split(",")):
        name, equals, value = part.partition("=")
        if name not in ("count", "age") or not equals:
            raise ValueError(f"{part} is neither count=N nor age=TIME")
        if name in given:
            raise ValueError(f"{name} stands twice")
        given[name] = value
    count = integer(1, 2**31 - 1)(given["count"]) if "count" in given else None
    age = duration(given["age"]) if "age" in given else None
    if age is not None and age <= 0:
        raise ValueError("age must be >0")
    return count, age


def show_duration(seconds: float) -> str:
    """Format `seconds` as the shortest Go duration."""
    for unit in ("h", "m", "s", "ms", "us", "ns"):
        count, rest = divmod(round(seconds * 10**9), _UNITS[unit])
        if rest == 0 and count:
            return f"{count}{unit}"
    return "0s"


def strings(text: str) -> tuple[str, ...]:
    """Comma-separated, without repetitions, in the order given."""
    return tuple(dict.fromkeys(text.split(","))) if text else ()


_ORIGIN = re.compile(r"https?://[^/?#@\s]+")


def origins(value: str) -> tuple[str, ...]:
    """`*`, or origins of web pages, comma-separated, such as https://example.com:8080."""
    given = strings(value)
    for origin in given:
        if origin != "*" and _ORIGIN.fullmatch(origin) is None:
            raise ValueError(f"{origin} is not an origin such as https://example.com:8080")
    return given


def text(value: str) -> str:
    """Any text, as it is."""
    return value


def urls(value: str) -> tuple[Url, ...]:
    """Comma-separated URLs, sorted and without repetitions as etcd keeps them."""
    return tuple(sorted(set(map(Url, value.split(","))))) if value else ()


def is_ip(host: str) -> bool:
    """Return whether `host` is an IPv4 or IPv6 address, without a zone, rather than a name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return "%" not in host


def choice(*valid: str) -> Callable[[str], str]:
    """Parse one of the values `valid`."""

    def parse(value: str) -> str:
        if value not in valid:
            raise ValueError(f"must be one of {', '.join(valid)}")
        return value

    return parse


def v2_deprecation(value: str) -> str:
    """A stage of the removal of etcd's v2 store that etcd 3.6 and 3.7 accept."""
    if value not in ("write-only", "write-only-skip-check", "write-only-drop-data", "gone"):
        raise ValueError(f'invalid value "{value}"')
    return value


def folded(parse: "Parser") -> "Parser":
    """Parse case-insensitively."""
    return lambda value: parse(value.lower())


#: From text to a typed value; ValueError says why not.
Parser = Callable[[str], Any]
