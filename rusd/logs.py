"""Logging in etcd's shape: one JSON object a line, or a console line for people.

Rooms call `log = get_logger(__name__)` and `log.info("message", extra={"fields": {...}})`; the
fields become keys of the JSON line. Lines go to standard error (etcd's default) or to the files of
`--log-outputs`. Logging never raises into the caller: a full disk must not end a member here.
"""

import json
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path

#: etcd's level names, and what logging calls them.
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


def get_logger(name: str) -> logging.Logger:
    """The logger of a module; pass `__name__`."""
    return logging.getLogger(name)


def _timestamp(record: logging.LogRecord) -> str:
    """RFC 3339 with milliseconds and zone, as etcd writes it."""
    local = time.localtime(record.created)
    zone = time.strftime("%z", local)
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", local)
    return f"{stamp}.{int(record.msecs):03d}{'Z' if zone == '+0000' else zone}"


def _caller(record: logging.LogRecord) -> str:
    path = Path(record.pathname)
    return f"{path.parent.name}/{path.name}:{record.lineno}"


class JsonFormatter(logging.Formatter):
    """{"level", "ts", "caller", "msg", fields…}."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "level": _NAMES.get(record.levelno, record.levelname.lower()),
            "ts": _timestamp(record),
            "caller": _caller(record),
            "msg": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["error"] = repr(record.exc_info[1])
            line["stacktrace"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class ConsoleFormatter(logging.Formatter):
    """Tab-separated: time, level, caller, message, fields as JSON."""

    def format(self, record: logging.LogRecord) -> str:
        parts = [
            _timestamp(record),
            _NAMES.get(record.levelno, record.levelname.lower()),
            _caller(record),
            record.getMessage(),
        ]
        fields = getattr(record, "fields", {})
        if fields:
            parts.append(json.dumps(fields, default=str))
        text = "\t".join(parts)
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return text


def configure(level: str, style: str, outputs: Sequence[str]) -> None:
    """Set up the root logger. `outputs`: "default", "stderr", "stdout" or file paths."""
    logging.raiseExceptions = False
    formatter = ConsoleFormatter() if style == "console" else JsonFormatter()
    root = logging.getLogger()
    root.setLevel(LEVELS[level])
    for handler in list(root.handlers):
        root.removeHandler(handler)
    for output in outputs or ("default",):
        handler = _handler(output)
        handler.setFormatter(formatter)
        root.addHandler(handler)


def _handler(output: str) -> logging.Handler:
    if output in ("default", "stderr"):
        return logging.StreamHandler(sys.stderr)
    if output == "stdout":
        return logging.StreamHandler(sys.stdout)
    if output == "/dev/null":
        return logging.NullHandler()
    return logging.FileHandler(output)
