"""Arguments, environment and exit codes of `rusd doctor`, `rusd top` and `rusd explain`.

Exit codes: 0 done, 1 it failed, 3 arguments that cannot be used, 130 interrupted; of `doctor` 0, 1
and 2 for the worst finding (notice, warning, critical) at or above --fail-on.

Flags that say how to reach members, and their variables, are etcdctl's.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NoReturn

from rusd.config.parsers import duration
from rusd.ctl import flags
from rusd.ctl.client import BadArguments
from rusd.ctl.gateway import Access, CallError

from .text import printable

FAILED: Final = 1
BAD_ARGUMENTS: Final = 3
INTERRUPTED: Final = 130


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        print(f"Error: {message}", file=sys.stderr)
        sys.exit(BAD_ARGUMENTS)


def prepare() -> None:
    """Set up the process: signals end it by an exception, so that the terminal is restored."""
    gc.enable()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


def main(argv: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a command with `argv` (its name first); return its exit code."""
    try:
        arguments = COMMANDS[argv[0]](environment).parse_args(argv[1:])
        code: int = arguments.run(arguments, flags.access(arguments))
        sys.stdout.flush()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else FAILED
    except BadArguments as error:
        print(f"Error: {error}", file=sys.stderr)
        return BAD_ARGUMENTS
    except BrokenPipeError:
        # The reader of the output has gone, as `head` does. (That of a member is a CallError.)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (CallError, OSError) as error:
        print(f"Error: {printable(str(error))}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    return code


# -- doctor ------------------------------------------------------------------------------------


def _doctor(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = _Parser(
        prog="rusd doctor",
        description="Says what is wrong with a cluster of rusd or etcd, and what to do.",
        epilog="Exit code: 0 healthy or notices, 1 warnings, 2 critical findings; 3 bad arguments.",
        allow_abbrev=False,
    )
    _add_endpoints(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="name the checks that found nothing"
    )
    parser.add_argument(
        "--fail-on",
        choices=("notice", "warning", "critical", "never"),
        default="warning",
        help="exit with 0 unless a finding is as bad (default: warning)",
    )
    parser.add_argument(
        "--interval",
        type=duration,
        default=1.0,
        metavar="TIME",
        help="between the two rounds of questions (default: 1s)",
    )
    parser.add_argument(
        "--skip-hash",
        action="store_true",
        help="do not compare keys, for which each member reads its whole database",
    )
    _add_access(parser, environment)
    parser.set_defaults(run=_run_doctor)
    return parser


def _run_doctor(arguments: argparse.Namespace, access: Access) -> int:
    from rusd.utl.progress import bar

    from .doctor import report
    from .doctor.findings import Severity
    from .doctor.gather import Gathering
    from .doctor.judge import exit_code, judge

    gathering = Gathering(
        access,
        interval=arguments.interval,
        hashes=not arguments.skip_hash,
        flags=_repeated(arguments),
    )
    with bar(lambda: gathering.part):
        facts = gathering.gather(_endpoints(arguments))
    findings, passed = judge(facts)
    least = None if arguments.fail_on == "never" else Severity[arguments.fail_on.upper()]
    code = exit_code(findings, least)
    if arguments.json:
        print(json.dumps(report.as_json(facts, findings, passed, code), indent=2))
        return code
    width = min(shutil.get_terminal_size().columns, 120)
    for line in report.lines(facts, findings, passed, verbose=arguments.verbose, width=width):
        print(line)
    return code


# -- top ---------------------------------------------------------------------------------------


def _top(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = _Parser(
        prog="rusd top",
        description="Shows what the members of a cluster of rusd or etcd do. Keys: q, p.",
        epilog="reads/s are of each member; writes/s are the same on all. fsync, commit: 99th "
        "percentile of the interval; peer: round trip to the slowest peer since the start.",
        allow_abbrev=False,
    )
    _add_endpoints(parser)
    parser.add_argument(
        "--once", action="store_true", help="print a table once, after one interval"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object once")
    parser.add_argument(
        "--interval",
        type=duration,
        default=1.0,
        metavar="TIME",
        help="between two samples (default: 1s)",
    )
    _add_access(parser, environment)
    parser.set_defaults(run=_run_top)
    return parser


def _run_top(arguments: argparse.Namespace, access: Access) -> int:
    from .top import plain
    from .top.samples import Samples

    samples = Samples(_endpoints(arguments), access)
    if not arguments.once and not arguments.json and sys.stdin.isatty() and sys.stdout.isatty():
        from .top import screen

        return screen.show(samples.take, max(arguments.interval, 0.1))
    samples.take()
    time.sleep(arguments.interval)
    view = samples.take()
    print(json.dumps(plain.as_json(view), indent=2) if arguments.json else plain.table(view))
    return FAILED if view.away == len(view.rows) else 0


# -- explain -----------------------------------------------------------------------------------


def _explain(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = _Parser(
        prog="rusd explain",
        description="Tells the history of a key, or what a revision changed, on rusd or etcd.",
        epilog="Exit code: 0 told, 1 it failed, or there is no such key or revision, "
        "3 bad arguments.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "word", metavar="KEY|REVISION", help="a number is a revision, but for --as-key"
    )
    parser.add_argument("--as-key", action="store_true", help="take a number for a key")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--limit",
        type=_natural,
        default=20,
        metavar="N",
        help="changes to show: the last of a key, the first of a revision; 0: all (default: 20)",
    )
    parser.add_argument(
        "--diff-lines",
        type=_natural,
        default=6,
        metavar="N",
        help="lines of each difference (default: 6)",
    )
    parser.add_argument(
        "--from-revision", type=_natural, default=0, metavar="N", help="of a key's history"
    )
    parser.add_argument(
        "--to-revision", type=_natural, default=0, metavar="N", help="of a key's history"
    )
    _add_access(parser, environment)
    parser.set_defaults(run=_run_explain)
    return parser


def _run_explain(arguments: argparse.Namespace, access: Access) -> int:
    from rusd.utl.progress import bar

    from .asking import understood
    from .explain import account, report
    from .explain.source import Source

    word: str = arguments.word
    by_revision = word.isdecimal() and not arguments.as_key
    if by_revision and (arguments.from_revision or arguments.to_revision):
        raise BadArguments("--from-revision and --to-revision are for keys; see --as-key")
    source = Source(flags.endpoints(arguments), access)
    size = {"limit": arguments.limit, "lines": arguments.diff_lines}
    program = f"rusd explain {shlex.quote(word)}"
    if by_revision:
        with bar(None), understood():
            of_revision = account.of_revision(source, int(word), **size)
        found = of_revision.revision <= of_revision.newest
        lines = report.of_revision(of_revision, program)
        as_json = report.revision_as_json(of_revision)
    else:
        span = {"first": arguments.from_revision, "last": arguments.to_revision}
        with bar(None), understood():
            of_key = account.of_key(source, os.fsencode(word), **span, **size)
        found = bool(of_key.count or of_key.before or of_key.now)
        lines = report.of_key(of_key, program)
        as_json = report.key_as_json(of_key)
    if arguments.json:
        print(json.dumps(as_json, indent=2))
    else:
        for line in lines:
            print(line)
    return 0 if found else FAILED


def _natural(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError(text)
    return number


def _repeated(arguments: argparse.Namespace) -> str:
    """Return the flags that command lines to try need, without a password."""
    words = [
        f"--{name}={shlex.quote(value)}"
        for name in ("cacert", "cert", "key")
        if (value := getattr(arguments, name))
    ]
    if arguments.insecure_skip_tls_verify:
        words.append("--insecure-skip-tls-verify")
    if arguments.user:
        words.append(f"--user={shlex.quote(arguments.user.partition(':')[0])}")
    return " ".join(words)


# -- flags -------------------------------------------------------------------------------------


def _add_endpoints(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "words",
        nargs="*",
        metavar="ENDPOINT",
        help="client URL, or HOST:PORT, of a member; others are found by its list of members "
        "(default: --endpoints)",
    )


def _add_access(parser: argparse.ArgumentParser, environment: Mapping[str, str]) -> None:
    group = parser.add_argument_group("access, as of etcdctl (variables: ETCDCTL_ENDPOINTS, …)")
    for name, default in flags.defaults(environment):
        given: dict[str, Any] = {"default": default, "help": flags.HELP[name]}
        if isinstance(default, bool):
            given["action"] = "store_true"
        else:
            given["type"] = flags.TYPES.get(name, str)
            if shown := flags.TEXT[name]:
                given["help"] += f" (default: {shown})"
        group.add_argument(f"--{name}", **given)


def _endpoints(arguments: argparse.Namespace) -> list[str]:
    """Return the endpoints that are named, or those of --endpoints. Raises BadArguments."""
    named = [url.strip() for word in arguments.words for url in word.split(",") if url.strip()]
    found = named or flags.endpoints(arguments)
    if not found:
        raise BadArguments("no endpoints")
    return found


COMMANDS: Final[Mapping[str, Callable[[Mapping[str, str]], argparse.ArgumentParser]]] = {
    "doctor": _doctor,
    "top": _top,
    "explain": _explain,
}
