"""Arguments, environment and exit codes of `rusdctl`, which are etcdctl's.

Exit codes: 0 done, 1 it failed or is no verb or flag, 4 no form of output, 128 arguments that
cannot be used. Each flag for all verbs has a variable: ETCDCTL_ENDPOINTS for --endpoints.
"""

from __future__ import annotations

import argparse
import os
import signal
import ssl
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, TypeAlias

from . import flags, members, printing, verbs
from .client import BAD_ARGUMENTS, FAILED, BadArguments, Client
from .gateway import CallError, Gateway

BAD_FORM = 4
INTERRUPTED = 130

_FORM = flags.variable("write-out")

#: Verbs that have tables.
_TABLES = (members.health, members.status, members.hashes, members.members)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        print(f"Error: {message}", file=sys.stderr)
        self.print_usage(sys.stderr)
        sys.exit(FAILED)


def console() -> NoReturn:
    """Entry point of the `rusdctl` command."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    code = main(sys.argv[1:], os.environ)
    sys.stdout.flush()
    sys.exit(code)


def main(argv: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run the command with `argv` (without the program's name); return its exit code."""
    arguments, rest = _parser(environment).parse_known_args(argv)
    # Words after a flag that follows other words, which argparse leaves over.
    if unknown := [word for word in rest if word.startswith("-")]:
        print(f"Error: unknown flag: {unknown[0]}", file=sys.stderr)
        return FAILED
    arguments.words = [*getattr(arguments, "words", ()), *rest]
    form = arguments.write_out
    if form not in (printing.FORMS if arguments.run in _TABLES else printing.FORMS[:2]):
        known = form in ("table", "fields", "protobuf")
        text = f"{form} not supported as output format" if known else "unsupported output format"
        print(f"Error: {text}", file=sys.stderr)
        return BAD_FORM
    try:
        code: int = arguments.run(arguments, _client(arguments))
    except BadArguments as error:
        print(f"Error: {error}", file=sys.stderr)
        return BAD_ARGUMENTS
    except (CallError, OSError, ssl.SSLError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    return code


def _client(arguments: argparse.Namespace) -> Client:
    """Return the client that the flags describe. Raises BadArguments."""
    access = flags.access(arguments)
    return Client(flags.endpoints(arguments), lambda some: Gateway(some, access))


_Verbs: TypeAlias = "argparse._SubParsersAction[_Parser]"


def _parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = _Parser(
        prog="rusdctl", description="A small client with etcdctl's verbs.", allow_abbrev=False
    )
    _add_common(parser, environment)
    # Flags may follow the verb too; those parsers have no defaults, which would replace what was
    # given before.
    common = _Parser(add_help=False, allow_abbrev=False, argument_default=argparse.SUPPRESS)
    _add_common(common, None)
    commands = parser.add_subparsers(metavar="COMMAND", parser_class=_Parser, required=True)

    def add(under: _Verbs, name: str, run: object, *aliases: str) -> _Parser:
        text = (run.__doc__ or "").partition("\n")[0]
        made = under.add_parser(
            name, aliases=aliases, help=text, parents=[common], allow_abbrev=False
        )
        made.set_defaults(run=run)
        made.add_argument("words", nargs="*", metavar="ARGUMENT")
        return made

    def group(name: str) -> _Verbs:
        made = commands.add_parser(name, parents=[common], allow_abbrev=False)
        return made.add_subparsers(metavar="COMMAND", parser_class=_Parser, required=True)

    found = add(commands, "get", verbs.get)
    deleted = add(commands, "del", verbs.delete)
    for each in (found, deleted):
        each.add_argument("--prefix", action="store_true", help="all keys with the prefix")
        each.add_argument("--from-key", action="store_true", help="all keys from there on")
    found.add_argument("--keys-only", action="store_true")
    found.add_argument("--print-value-only", action="store_true")
    found.add_argument("--limit", type=int, default=0)
    found.add_argument("--rev", type=int, default=0, help="revision")
    found.add_argument("--consistency", choices=("l", "s"), default="l")
    found.add_argument("--order", type=str.upper, choices=("ASCEND", "DESCEND"), default="")
    targets = ("CREATE", "KEY", "MODIFY", "VALUE", "VERSION")
    found.add_argument("--sort-by", type=str.upper, choices=targets, default="")
    written = add(commands, "put", verbs.put)
    written.add_argument("--lease", default="0", help="in hexadecimal")
    for each in (deleted, written):
        each.add_argument("--prev-kv", action="store_true", help="print what was there")
    compacted = add(commands, "compaction", verbs.compact, "compact")
    compacted.add_argument("--physical", action="store_true", help="wait until it is done")
    endpoint = group("endpoint")
    hashed = add(endpoint, "hashkv", members.hashes)
    hashed.add_argument("--rev", type=int, default=0, help="revision")
    for each in (
        add(endpoint, "health", members.health),
        add(endpoint, "status", members.status),
        hashed,
        add(commands, "defrag", verbs.defragment),
    ):
        each.add_argument("--cluster", action="store_true", help="all that members advertise")
    member = group("member")
    add(member, "list", members.members)
    added = add(member, "add", members.add)
    added.add_argument("--learner", action="store_true", help="without a vote, until promoted")
    for each in (added, add(member, "update", members.update)):
        each.add_argument("--peer-urls", default="", help="separated by commas")
    add(member, "remove", members.remove)
    add(member, "promote", members.promote)
    add(commands, "move-leader", members.move_leader)
    alarm = group("alarm")
    add(alarm, "list", verbs.alarms).set_defaults(disarm=False)
    add(alarm, "disarm", verbs.alarms).set_defaults(disarm=True)
    add(group("snapshot"), "save", verbs.snapshot)
    add(group("user"), "list", verbs.users)
    add(commands, "version", verbs.version)
    return parser


def _add_common(parser: argparse.ArgumentParser, environment: Mapping[str, str] | None) -> None:
    """Add the flags for all verbs, with defaults from the environment where there is one."""
    for name, default in flags.defaults(environment or {}):
        given: dict[str, Any] = {} if environment is None else {"default": default}
        if isinstance(default, bool):
            given["action"] = "store_true"
        parser.add_argument(f"--{name}", **given)
    given = {} if environment is None else {"default": environment.get(_FORM, "simple")}
    parser.add_argument("-w", "--write-out", **given)
