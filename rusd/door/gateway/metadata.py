"""Headers of an HTTP request as the metadata of a call, as grpc-gateway passes them on.

`Authorization` as `authorization`, `Grpc-Metadata-X` as `x`, the permanent headers of HTTP as
`grpcgateway-x`. `Grpc-Metadata-X-Bin` must be base64; binary metadata is not kept
(`rpc/call.py`). `grpcgateway-accept` is always there: it marks calls of the gateway, for which no
certificate stands for a user (`rusd/rpc/authentication.py`).
"""

import re
from collections.abc import Mapping

_PREFIX = "grpc-metadata-"
_GATEWAY = "grpcgateway-"
_PERMANENT = frozenset(
    ("accept", "accept-charset", "accept-language", "accept-ranges", "authorization",
     "cache-control", "content-type", "cookie", "date", "expect", "from", "host", "if-match",
     "if-modified-since", "if-none-match", "if-schedule-tag-match", "if-unmodified-since",
     "max-forwards", "origin", "pragma", "referer", "user-agent", "via", "warning")
)  # fmt: skip
_NAME = re.compile("[0-9a-z_.-]+")
_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
#: Seconds from which on a timeout counts as none.
LONGEST = 1e7
_NUMBER = re.compile("[+-]?[0-9]{1,18}")


def metadata(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the call metadata of a request with these headers (names in lowercase).

    Raises ValueError for a binary header that is not base64.
    """
    found = {_GATEWAY + "accept": ""}
    for name, value in headers.items():
        if name == "authorization":
            found[name] = value
        if name in _PERMANENT:
            key = _GATEWAY + name
        elif name.startswith(_PREFIX):
            key = name[len(_PREFIX) :]
            if _NAME.fullmatch(key) is None or key.startswith(_GATEWAY):
                continue
            if key.endswith("-bin"):
                _check_base64(name, value)
                continue
        else:
            continue
        if value.isascii() and value.isprintable():
            found[key] = value
    return found


_ALPHABET = re.compile("[0-9A-Za-z+/]*")


def _check_base64(name: str, value: str) -> None:
    """Raise ValueError with Go's error if `value` is not base64 of the standard alphabet, padded if
    its length is a multiple of 4. `name`: of the header.
    """
    digits = _ALPHABET.match(value)
    end = 0 if digits is None else digits.end()
    wrong = end
    if end == len(value):
        # (Go's error stands at the first digit of the incomplete group.)
        wrong = end - 1
        if end % 4 != 1:
            return
    elif len(value) % 4 == 0 and value[end] == "=" and end % 4 in (2, 3):
        padding = 4 - end % 4
        if value[end:] == "=" * padding:
            return
        # (Behind the padding, or at the second character of a padding that is not one.)
        wrong = end + padding if value[end:].startswith("=" * padding) else end
    shown = "-".join(part.capitalize() for part in name.split("-"))
    raise ValueError(f"invalid binary header {shown}: illegal base64 data at input byte {wrong}")


def timeout(headers: Mapping[str, str]) -> float | None:
    """Return the timeout of `Grpc-Timeout` in seconds; None if absent. Raises ValueError."""
    given = headers.get("grpc-timeout", "")
    if not given:
        return None
    number, unit = given[:-1], given[-1]
    if unit not in _UNITS or _NUMBER.fullmatch(number) is None:
        raise ValueError(f"invalid grpc-timeout: {given[:100]}")
    seconds = int(number) * _UNITS[unit]
    # (Zero stands for none, as in Go.)
    return seconds if 0 != seconds < LONGEST else None
