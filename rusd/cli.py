"""The `rusd` command: read the configuration, run one member until a signal stops it. Its
sub-commands look at a cluster that runs; their exit codes are those of `diagnostics/command.py`.

Exit codes: 0 after --help, --version, a stop by SIGTERM or SIGINT, whatever the process was doing
then, and when the member's own log says that it was removed; 1 for a configuration that cannot be
used and for anything else that ends a member by itself, so that a supervisor starts it again; 2 for
an unreadable command line. A full disk does not end the process: it waits for space and begins
anew. Errors before the log is set up are one line on standard error, later ones one line of the
log.

A signal stops a running member in order (leadership is handed over); further ones change nothing,
as in etcd. A kill is safe at any moment. Almost everything is imported inside functions: signals
are handled before the rest of rusd is loaded.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from rusd.member import signals

if TYPE_CHECKING:
    from rusd.config import Loaded

#: What looks at a cluster that runs, in place of running a member.
SUBCOMMANDS = ("doctor", "top", "explain")
#: Seconds after the end of main() at which a thread that hangs is left behind.
EXIT_TIMEOUT = 10.0


def console() -> NoReturn:
    """Entry point of the `rusd` command."""
    signals.end_at_once()
    # While modules load nothing becomes garbage. A member enables it (`base/garbage.py`).
    gc.disable()
    code = main(sys.argv[1:])
    import os
    import threading

    from rusd.base import logs

    logs.flush()
    # A thread that hangs in a system call must not keep a member that has ended alive.
    watchdog = threading.Timer(EXIT_TIMEOUT, os._exit, (code,))
    watchdog.daemon = True
    watchdog.start()
    sys.exit(code)


def main(argv: Sequence[str]) -> int:
    """Run the command with `argv` (without the program's name) and return its exit code."""
    import os

    if argv and argv[0] in SUBCOMMANDS:
        from rusd.diagnostics import command

        command.prepare()
        return command.main(argv, os.environ)

    from rusd.base import logs
    from rusd.config import (
        ConfigError,
        UsageError,
        check_bootstrap,
        help_text,
        load,
        parse_arguments,
    )
    from rusd.member import data_directory

    try:
        arguments = parse_arguments(argv)
        if arguments.help:
            print(help_text(), end="")
            return 0
        if arguments.version and arguments.stray is None:
            print(version_text(), end="")
            return 0
        loaded = load(arguments, os.environ)
        config = loaded.config
        logs.configure(config.log_level, config.log_format, config.log_outputs, config.log_rotation)
        if not data_directory.is_founded(config):
            check_bootstrap(config)
    except ConfigError as error:
        print(f"rusd: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except OSError as error:
        print(f"rusd: cannot write the log: {error}", file=sys.stderr)
        return 1
    _log_start(loaded)
    from rusd.member import process

    return process.serve(config)


def version_text() -> str:
    """etcd's four lines (its tools parse the first), and rusd's own version."""
    import platform

    from rusd import ETCD_VERSION, __version__

    return (
        f"etcd Version: {ETCD_VERSION}\n"
        "Git SHA: Not provided\n"
        f"Python Version: {platform.python_version()}\n"
        f"Python OS/Arch: {platform.system().lower()}/{platform.machine()}\n"
        f"rusd Version: {__version__}\n"
    )


def _log_start(loaded: Loaded) -> None:
    from rusd import ETCD_VERSION, __version__
    from rusd.base import logs

    log = logs.get_logger("rusd.cli")  # not "__main__", which `python -m rusd.cli` is
    config = loaded.config
    for note in loaded.notes:
        log.warning(note)
    log.info(
        "starting",
        extra={
            "fields": {
                "etcd-version": ETCD_VERSION,
                "rusd-version": __version__,
                "name": config.name,
                "data-dir": str(config.data_path),
                "listen-peer-urls": config.listen_peer_urls,
                "listen-client-urls": config.listen_client_urls,
                "advertise-client-urls": config.advertise_client_urls,
                "initial-advertise-peer-urls": config.initial_advertise_peer_urls,
                "initial-cluster": config.initial_cluster,
                "initial-cluster-state": config.initial_cluster_state,
                "snapshot-catchup-entries": config.snapshot_catchup_entries,
                "v2-deprecation": "write-only",  # etcd's default, which it enforces
            }
        },
    )
    if config.unsafe_no_fsync:
        log.warning("unsafe-no-fsync is set: a power cut loses acknowledged writes")


if __name__ == "__main__":
    console()
