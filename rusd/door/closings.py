"""Log lines about the ends of client connections: every one has a line, with its reason.

A connection that this server closes for a fault of its client is a warning, in bounds
(`LimitedLog`); an end that is usual, such as that of a client that leaves, is told at debug level.
"""

from rusd.base.logs import LimitedLog, get_logger

log = get_logger(__name__)
_warnings = LimitedLog(log)

_CLOSED = "closed a client connection"
#: The reason of both listeners.
NO_FIRST_BYTES = "no first bytes in time"


def log_closed(remote: str, reason: str, code: str = "") -> None:
    """Warn that the connection of `remote` was closed. `reason` must not contain text of the
    client. `code`: the error code that the client was sent, if it was sent one.
    """
    fields = {"remote-addr": remote, "reason": reason}
    if code:
        fields["error-code"] = code
    _warnings.warning(_CLOSED, fields, reason)


def log_usual(remote: str, reason: str) -> None:
    """Log an end without a fault."""
    log.debug(_CLOSED, extra={"fields": {"remote-addr": remote, "reason": reason}})


def log_left(remote: str, error: BaseException | None) -> None:
    """Log that a client left, or that its connection broke with `error`."""
    reason = "closed by the client" if error is None else repr(error)
    log.debug(
        "a client connection ended", extra={"fields": {"remote-addr": remote, "reason": reason}}
    )
