"""Command lines with verbs, as etcd's tools read them.

Help is shown after all words were read, so that an unknown flag beside `--help` is an error. A verb
below another one that does not exist does what none does: it shows the usage. Below the command
itself it is an error. What a verb cannot do without is for the verb to check, after the help.
"""

import argparse
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn

FAILED: Final = 1

#: Values of a flag that is on or off.
_YES: Final = ("1", "t", "T", "true", "True", "TRUE")
_NO: Final = ("0", "f", "F", "false", "False", "FALSE")


def run(main: Callable[[], int]) -> int:
    """Return the exit code of a command; end the process as SIGPIPE ends Go's programs if the
    reader of its output has gone. With the default action of the signal, a closed connection would
    end it too.
    """
    try:
        try:
            return main()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.raise_signal(signal.SIGPIPE)
        return FAILED


class Parser(argparse.ArgumentParser):
    """Parses what follows a command or a verb. `common` adds the flags of all verbs to a verb;
    they may have no defaults there, which would replace what was given before it.
    """

    def __init__(
        self, *, common: Callable[[argparse.ArgumentParser], None] | None = None, **given: Any
    ) -> None:
        super().__init__(add_help=False, allow_abbrev=False, **given)
        self._common = common or (lambda parser: None)
        self._below: argparse._SubParsersAction[Parser] | None = None
        self.verbs: dict[str, Parser] = {}
        self._add_help("show the usage", "store_true", "-h", "--help")
        for words, action in ((_YES, "store_true"), (_NO, "store_false")):
            flags = [f"{flag}={word}" for flag in ("-h", "--help") for word in words]
            self._add_help(argparse.SUPPRESS, action, *flags)
        self.set_defaults(parser=self)

    def _add_help(self, text: str, action: str, *flags: str) -> None:
        self.add_argument(*flags, dest="help", action=action, default=argparse.SUPPRESS, help=text)

    def verb(self, name: str, *, aliases: Sequence[str] = (), text: str = "") -> "Parser":
        """Add a verb. Its default `run` is what it does; none is to show the usage."""
        if self._below is None:
            self._below = self.add_subparsers(metavar="COMMAND", parser_class=Parser)
        made = self._below.add_parser(name, aliases=aliases, help=text, common=self._common)
        self._common(made)
        made.set_defaults(run=None)
        self.verbs |= dict.fromkeys((name, *aliases), made)
        return made

    def help_verb(self) -> None:
        """Add the verb `help`."""
        helped = self.verb("help", text="show the usage of a verb")
        helped.words("VERB", "the verb (default: all of them)")
        helped.set_defaults(topic=True, parser=self)

    def words(self, name: str = "", text: str = argparse.SUPPRESS) -> None:
        """Take any number of words, as `words`; without a name nothing is done with them."""
        self.add_argument("words", nargs="*", metavar=name or None, help=text)

    def flags(self) -> list[str]:
        """Return the flags of which the usage tells."""
        shown = (one for one in self._actions if one.help != argparse.SUPPRESS)
        return [flag for one in shown for flag in one.option_strings]

    def read(self, argv: Sequence[str]) -> argparse.Namespace | None:
        """Return flags and words; None if they ask for usage, which was shown. Ends the process if
        they cannot be read.
        """
        arguments, rest = self.parse_known_args(argv)
        if unknown := [word for word in rest if word.startswith("-") and word != "--"]:
            self.error(f"unknown flag: {unknown[0]}")
        # (Words after a flag that follows other words, which argparse leaves over.)
        if words := [word for word in rest if word != "--"]:
            if not hasattr(arguments, "words"):
                self.error(f"unknown argument: {words[0]}")
            arguments.words += words
        helped = getattr(arguments, "help", False)
        if not helped and getattr(arguments, "run", None) is not None:
            return arguments
        if not helped and getattr(arguments, "topic", False):
            self._show(arguments.words)
        else:
            arguments.parser.print_help()
        return None

    def _show(self, topic: Sequence[str]) -> None:
        """Show the usage of a verb."""
        if topic and topic[0] not in self.verbs:
            words = " ".join(f"`{one}`" for one in topic)
            print(f"Unknown help topic [{words}]", file=sys.stderr)
            self.print_usage(sys.stderr)
            return
        shown = self
        for verb in topic:
            if verb not in shown.verbs:
                break
            shown = shown.verbs[verb]
        shown.print_help()

    def error(self, message: str) -> NoReturn:
        """Tell of a mistake and end the process."""
        print(f"Error: {message}", file=sys.stderr)
        self.print_usage(sys.stderr)
        sys.exit(FAILED)

    def _print_message(self, message: str, file: Any = None) -> None:
        # (argparse's own leaves out what cannot be written.)
        (file or sys.stdout).write(message)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action is self._below and value not in self.verbs and "run" in self._defaults:
            unknown = Parser(prog=self.prog)
            self._common(unknown)
            unknown.words()
            unknown.set_defaults(parser=self, run=self.get_default("run"))
            self._below.choices[value] = unknown
            return
        super()._check_value(action, value)
