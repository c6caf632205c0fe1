"""Arguments, environment and exit codes of `rusdctl`, which are etcdctl's.

Exit codes: 0 done, 1 it failed or is no verb or flag, 4 no form of output, 128 arguments that
cannot be used. Each flag for all verbs has a variable: ETCDCTL_ENDPOINTS for --endpoints.
"""

from __future__ import annotations

import argparse
import os
import ssl
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NoReturn

from rusd.base.command_line import FAILED, Parser, run

from . import flags, members, printing, verbs
from .client import BAD_FORM, BadArguments, Client
from .gateway import CallError, Gateway

INTERRUPTED = 130

_FORM = flags.variable("write-out")

#: Verbs that have tables.
_TABLES = (members.health, members.status, members.hashes, members.members)


def console() -> NoReturn:
    """Entry point of the `rusdctl` command."""
    sys.exit(run(lambda: main(sys.argv[1:], os.environ)))


def main(argv: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run the command with `argv` (without the program's name); return its exit code."""
    arguments = _parser(environment).read(argv)
    if arguments is None:
        return 0
    form = arguments.write_out
    if arguments.run is not verbs.version and form not in (
        printing.FORMS if arguments.run in _TABLES else printing.FORMS[:2]
    ):
        known = form in ("table", "fields", "protobuf")
        text = f"{form} not supported as output format" if known else "unsupported output format"
        print(f"Error: {text}", file=sys.stderr)
        return BAD_FORM
    try:
        code: int = arguments.run(arguments, _client(arguments))
    except BadArguments as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.code
    except BrokenPipeError:
        raise  # the reader of the output has gone (a member that has gone is a CallError)
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


def _parser(environment: Mapping[str, str]) -> Parser:
    parser = Parser(
        prog="rusdctl",
        description="A small client with etcdctl's verbs.",
        common=partial(_add_common, environment=None),
    )
    _add_common(parser, environment)

    def add(under: Parser, name: str, run: object, *aliases: str) -> Parser:
        text = (run.__doc__ or "").partition("\n")[0]
        made = under.verb(name, aliases=aliases, text=text)
        made.set_defaults(run=run)
        made.words("ARGUMENT", "")
        return made

    found = add(parser, "get", verbs.get)
    deleted = add(parser, "del", verbs.delete)
    for each in (found, deleted):
        each.add_argument("--prefix", action="store_true", help="all keys with the prefix")
        each.add_argument("--from-key", action="store_true", help="all keys from there on")
    found.add_argument("--keys-only", action="store_true")
    found.add_argument("--print-value-only", action="store_true")
    found.add_argument("--limit", type=int, default=0)
    found.add_argument("--rev", type=int, default=0, help="revision")
    found.add_argument("--consistency", default="l", help="l or s")
    found.add_argument("--order", type=str.upper, default="", help=" or ".join(verbs.ORDERS))
    found.add_argument("--sort-by", type=str.upper, default="", help=", ".join(verbs.TARGETS))
    written = add(parser, "put", verbs.put)
    written.add_argument("--lease", default="0", help="in hexadecimal")
    for each in (deleted, written):
        each.add_argument("--prev-kv", action="store_true", help="print what was there")
    compacted = add(parser, "compaction", verbs.compact, "compact")
    compacted.add_argument("--physical", action="store_true", help="wait until it is done")
    endpoint = parser.verb("endpoint")
    hashed = add(endpoint, "hashkv", members.hashes)
    hashed.add_argument("--rev", type=int, default=0, help="revision")
    for each in (
        add(endpoint, "health", members.health),
        add(endpoint, "status", members.status),
        hashed,
        add(parser, "defrag", verbs.defragment),
    ):
        each.add_argument("--cluster", action="store_true", help="all that members advertise")
    member = parser.verb("member")
    add(member, "list", members.members)
    added = add(member, "add", members.add)
    added.add_argument("--learner", action="store_true", help="without a vote, until promoted")
    for each in (added, add(member, "update", members.update)):
        each.add_argument("--peer-urls", default="", help="separated by commas")
    add(member, "remove", members.remove)
    add(member, "promote", members.promote)
    add(parser, "move-leader", members.move_leader)
    alarm = parser.verb("alarm")
    add(alarm, "list", verbs.alarms).set_defaults(disarm=False)
    add(alarm, "disarm", verbs.alarms).set_defaults(disarm=True)
    add(parser.verb("snapshot"), "save", verbs.snapshot)
    add(parser.verb("user"), "list", verbs.users)
    add(parser, "version", verbs.version)
    parser.help_verb()
    return parser


def _add_common(parser: argparse.ArgumentParser, environment: Mapping[str, str] | None) -> None:
    """Add the flags for all verbs, with defaults from the environment where there is one."""
    for name, default in flags.defaults(environment or {}):
        given: dict[str, Any] = {"default": argparse.SUPPRESS if environment is None else default}
        if isinstance(default, bool):
            given["action"] = "store_true"
        else:
            given["type"] = flags.TYPES.get(name, str)
        parser.add_argument(f"--{name}", **given)
    form = argparse.SUPPRESS if environment is None else environment.get(_FORM, "simple")
    parser.add_argument("-w", "--write-out", default=form)
