"""Tests as scripts: commands, and below them the output that was recorded when they last ran.

    # Two voters elect a leader.
    new 1 2
    elect 1
    ---
    1 -> 2  request_vote term=1
    2 -> 1  response_vote term=1
    1 leads in term 1

A file is a sequence of blocks, separated by blank lines. A block is one or more commands, `---`,
and their output. Lines that begin with `#` above the `---` are comments. A command is a name,
arguments and options (`key=value`), quoted as in a shell. `!name` is a command that must fail: its
error is part of the output.

`replay` runs the commands of a file in order against the functions it is given, and compares what
they return with what is recorded. With `TESTSCRIPTS=record` in the environment it writes the file
anew instead; the diff then shows what changed. The output must be the same in every run: no times
of a real clock, no addresses, no order of a set.
"""

import difflib
import os
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

#: Environment variable; `record` writes the output anew.
MODE = "TESTSCRIPTS"
SEPARATOR = "---"


class ScriptError(Exception):
    """A script that cannot be run: the text names file and line."""


@dataclass(slots=True)
class Command:
    """One command. Arguments and options that the function does not read are an error."""

    name: str
    args: list[str]
    options: dict[str, str]
    #: The command must fail.
    fails: bool
    #: Line of the file, from 1.
    line: int

    def argument(self, default: str | None = None) -> str:
        """Returns the next argument that was not read.

        ScriptError if there is none and no default.
        """
        if self.args:
            return self.args.pop(0)
        if default is None:
            raise ScriptError(f"{self.name} needs another argument")
        return default

    def rest(self) -> list[str]:
        """Returns all arguments that were not read."""
        rest, self.args = self.args, []
        return rest

    def option(self, name: str, default: str | None = None) -> str:
        """Returns an option. ScriptError if it is absent and there is no default."""
        value = self.options.pop(name, default)
        if value is None:
            raise ScriptError(f"{self.name} needs {name}=")
        return value


#: Runs a command; returns its output (lines, or text of several lines).
Run = Callable[[Command], str | Iterable[str] | None]


@dataclass(slots=True)
class Block:
    """Commands and what they put out, with the text they were written as."""

    source: list[str] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)
    output: list[str] = field(default_factory=list)


def parse(text: str) -> list[Block]:
    """Returns the blocks of a script. Raises ScriptError."""
    blocks: list[Block] = []
    block: Block | None = None
    in_output = False
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            block, in_output = None, False
            continue
        if block is None:
            block = Block()
            blocks.append(block)
        if in_output:
            block.output.append(line)
        elif line == SEPARATOR:
            in_output = True
        else:
            block.source.append(line)
            if not line.startswith("#"):
                block.commands.append(_command(line, number))
    return blocks


def _command(line: str, number: int) -> Command:
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise ScriptError(f"line {number}: {error}") from None
    name, args, options = words[0], [], {}
    for word in words[1:]:
        key, equals, value = word.partition("=")
        if equals and key.isidentifier():
            options[key] = value
        else:
            args.append(word)
    return Command(name.removeprefix("!"), args, options, name.startswith("!"), number)


def replay(
    path: Path,
    functions: Mapping[str, Run],
    errors: type[Exception] | tuple[type[Exception], ...] = (),
) -> None:
    """Run the script at `path` and compare.

    `functions`: command name -> function. `errors`: what a command that must fail may raise; any
    other exception ends the test.
    """
    blocks = parse(path.read_text())
    expected = _text(blocks)
    for block in blocks:
        if block.commands:
            block.output = [
                line
                for command in block.commands
                for line in _run(path, command, functions, errors)
            ]
    actual = _text(blocks)
    if os.environ.get(MODE) == "record":
        path.write_text(actual)
    elif actual != expected:
        names = f"{path.name} as recorded", f"{path.name} now"
        lines = difflib.unified_diff(
            expected.splitlines(), actual.splitlines(), *names, lineterm=""
        )
        raise AssertionError("\n".join(("the output differs", *lines)))


def _run(
    path: Path,
    command: Command,
    functions: Mapping[str, Run],
    errors: type[Exception] | tuple[type[Exception], ...],
) -> list[str]:
    place = f"{path.name}, line {command.line}"
    function = functions.get(command.name)
    if function is None:
        raise ScriptError(f"{place}: no command {command.name!r}; there are {sorted(functions)}")
    try:
        output = function(command)
    except ScriptError as error:
        raise ScriptError(f"{place}: {error}") from None
    except errors as error:
        if not command.fails:
            raise
        return _lines(f"error: {error}")
    if command.fails:
        raise AssertionError(f"{place}: {command.name} did not fail")
    if command.args or command.options:
        unread = [*command.args, *command.options]
        raise ScriptError(f"{place}: {command.name} does not know {unread}")
    return _lines(output)


def _lines(output: str | Iterable[str] | None) -> list[str]:
    text = output if isinstance(output, str) else "\n".join(output or ())
    # (A blank line would end the block.)
    return [line.rstrip() or "." for line in text.splitlines()]


def _text(blocks: list[Block]) -> str:
    parts = []
    for block in blocks:
        lines = [*block.source]
        if block.commands:
            lines += [SEPARATOR, *block.output]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)
