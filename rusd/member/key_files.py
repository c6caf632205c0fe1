"""Warns at each start about private keys that other users of the machine can read."""

import os
import stat

from rusd.base.logs import get_logger

log = get_logger(__name__)

_OTHERS = stat.S_IRGRP | stat.S_IWGRP | stat.S_IROTH | stat.S_IWOTH


def warn_if_exposed(path: str) -> None:
    """Log a warning if group or others may read or write the file.

    etcd does not check; a refusal would break set-ups that work with etcd.
    """
    if not path:
        return
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return  # whatever reads it reports that
    if mode & _OTHERS:
        fields = {"path": path, "permissions": stat.filemode(mode)}
        log.warning("private key is readable by other users", extra={"fields": fields})
