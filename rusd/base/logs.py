"""Logging in etcd's format: one JSON object a line, or a console line.

Rooms call `log = get_logger(__name__)` and `log.info("message", extra={"fields": {...}})`; the
fields become keys of the JSON line. Lines go to standard error (etcd's default), to files or to
systemd's journal, as `--log-outputs` says. Logging never raises into the caller: a full disk must
not end a member here.
"""

import contextlib
import json
import logging
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rusd.base.log_rotation import RotatingFile, Rotation
from rusd.base.systemd import JournalHandler

#: etcd's names of levels -> those of logging.
LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "panic": logging.CRITICAL,
    "fatal": logging.CRITICAL,
}
_NAMES = {
    logging.DEBUG: "debug",
    logging.INFO: "info",
    logging.WARNING: "warn",
    logging.ERROR: "error",
    logging.CRITICAL: "fatal",
}
FORMATS = ("json", "console")
#: The log outputs that are streams of the process.
STREAMS = ("default", "stderr", "stdout")
#: The log output for systemd's journal.
JOURNAL = "systemd/journal"
#: The log output that discards everything.
NOWHERE = "/dev/null"
#: Units of Go's durations, from the longest: nanoseconds, name.
_UNITS = ((10**9, "s"), (10**6, "ms"), (10**3, "µs"), (1, "ns"))
#: The parent of all loggers of rusd.
_OWN = "rusd"
#: No blanks between keys and values, as etcd writes them and log searches expect them.
_COMPACT = (",", ":")


def get_logger(name: str) -> logging.Logger:
    """Return the logger of a module; pass `__name__`."""
    return logging.getLogger(name)


def go_duration(seconds: float) -> str:
    """A duration as Go writes it in etcd's log, such as `301.234ms`."""
    nanoseconds = round(seconds * 10**9)
    for unit, name in _UNITS:
        if abs(nanoseconds) >= unit:
            return f"{nanoseconds / unit:.9f}".rstrip("0").rstrip(".") + name
    return "0s"


class LimitedLog:
    """Bounds warnings that unknown clients or peers can cause.

    Each kind has at most `BURST` lines in `PERIOD` seconds; further ones are logged at debug level.
    The first line of the next period says how many were left out.
    """

    BURST = 3
    PERIOD = 10.0
    #: Kinds that are counted; further kinds share one count.
    KINDS = 64
    #: Characters of a field, which may repeat text of a client or peer.
    FIELD = 200

    def __init__(self, log: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        #: Kind -> (start of its period, lines in it).
        self._written: dict[str, tuple[float, int]] = {}

    def warning(self, message: str, fields: Mapping[str, object], kind: str = "") -> None:
        """Log a line, unless its kind had its share. `kind` must not contain text of a peer."""
        kind = f"{message}: {kind}"
        if kind not in self._written and len(self._written) >= self.KINDS:
            kind = ""
        now = self._clock()
        begin, lines = self._written.get(kind, (now, 0))
        left_out = 0
        if now - begin >= self.PERIOD:
            left_out, begin, lines = max(0, lines - self.BURST), now, 0
        self._written[kind] = begin, lines + 1
        if lines >= self.BURST and not self._log.isEnabledFor(logging.DEBUG):
            return
        shown: dict[str, object] = {
            name: str(value)[: self.FIELD] for name, value in fields.items()
        }
        if left_out:
            shown["left-out"] = left_out
        level = logging.WARNING if lines < self.BURST else logging.DEBUG
        self._log.log(level, message, extra={"fields": shown}, stacklevel=2)


def _timestamp(record: logging.LogRecord) -> str:
    """Format a time as etcd does: RFC 3339 with milliseconds and zone."""
    local = time.localtime(record.created)
    zone = time.strftime("%z", local)
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", local)
    return f"{stamp}.{int(record.msecs):03d}{'Z' if zone == '+0000' else zone}"


def _caller(record: logging.LogRecord) -> str:
    path = Path(record.pathname)
    return f"{path.parent.name}/{path.name}:{record.lineno}"


def _level(record: logging.LogRecord) -> str:
    return _NAMES.get(record.levelno, record.levelname.lower())


def _encode(value: object) -> str:
    """Encode any value as JSON; values without a JSON form as text."""
    try:
        return json.dumps(value, default=str)
    except (TypeError, ValueError):  # keys that are not text, a cycle
        return json.dumps(repr(value))


class JsonFormatter(logging.Formatter):
    """Formats {"level", "ts", "caller", "msg", fields…}; the first four cannot be replaced."""

    def format(self, record: logging.LogRecord) -> str:
        own = {
            "level": _level(record),
            "ts": _timestamp(record),
            "caller": _caller(record),
            "msg": record.getMessage(),
        }
        fields = dict(getattr(record, "fields", {}))
        if record.exc_info and record.exc_info[1]:
            fields.setdefault("error", repr(record.exc_info[1]))
            fields["stacktrace"] = self.formatException(record.exc_info)
        line = own | {str(key): value for key, value in fields.items() if key not in own}
        try:
            return json.dumps(line, default=str, separators=_COMPACT)
        except (TypeError, ValueError):
            return json.dumps(own | {"fields": repr(fields)}, separators=_COMPACT)


class ConsoleFormatter(logging.Formatter):
    """Formats tab-separated time, level, caller, message, and fields as JSON."""

    def format(self, record: logging.LogRecord) -> str:
        parts = [_timestamp(record), _level(record), _caller(record), record.getMessage()]
        fields = getattr(record, "fields", {})
        if fields:
            parts.append(_encode(fields))
        text = "\t".join(parts)
        if record.exc_info and record.exc_info[1]:
            text += "\n" + self.formatException(record.exc_info)
        return text


def configure(
    level: str, style: str, outputs: Sequence[str], rotation: Rotation | None = None
) -> None:
    """Set up logging: lines of rusd from `level` on, of libraries from warning on.

    `outputs`: "default", "stderr", "stdout", "systemd/journal" or files, as paths or file: URLs.
    Files are rotated by `rotation`, if it is given.
    Raises OSError if a file or the journal cannot be opened; logging is then unchanged.
    """
    logging.raiseExceptions = False
    formatter = ConsoleFormatter() if style == "console" else JsonFormatter()
    if NOWHERE in outputs:
        outputs = (NOWHERE,)
    handlers = [_handler(output, rotation) for output in outputs or ("default",)]
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
        old.close()
    for handler in handlers:
        handler.setFormatter(formatter)
        root.addHandler(handler)
    # Libraries log every frame and request, with values of headers.
    root.setLevel(max(logging.WARNING, LEVELS[level]))
    logging.getLogger(_OWN).setLevel(LEVELS[level])


def flush() -> None:
    """Flush all handlers; never raises."""
    for handler in logging.getLogger().handlers:
        with contextlib.suppress(OSError, ValueError):
            handler.flush()


def _handler(output: str, rotation: Rotation | None) -> logging.Handler:
    if output in ("default", "stderr"):
        return logging.StreamHandler(sys.stderr)
    if output == "stdout":
        return logging.StreamHandler(sys.stdout)
    if output == NOWHERE:
        return logging.NullHandler()
    if output == JOURNAL:
        try:
            return JournalHandler()
        except OSError as error:
            raise OSError(error.errno, f"can't find journal ({error.strerror})") from None
    path = output.removeprefix("file://")
    if rotation is not None:
        return RotatingFile(Path(path), rotation)
    return logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
