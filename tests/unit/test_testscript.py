"""The runner of test scripts: what it compares, records and refuses."""

from pathlib import Path

import pytest

from tests.support.testscript import Command, ScriptError, replay

SCRIPT = """# A comment.

set a one
set b "two words"
get a
---
one

get b prefix=>
!get c
---
>two words
error: no c
"""


class Store:
    """Something with commands."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}
        self.functions = {"set": self.set, "get": self.get}

    def set(self, command: Command) -> None:
        name, value = command.argument(), command.argument()
        self._values[name] = value

    def get(self, command: Command) -> list[str]:
        name = command.argument()
        if name not in self._values:
            raise KeyError(name) if name == "key" else ValueError(f"no {name}")
        return [command.option("prefix", "") + self._values[name]]


def run(path: Path, text: str) -> str:
    script = path / "script.txt"
    script.write_text(text)
    replay(script, Store().functions, ValueError)
    return script.read_text()


@pytest.fixture(autouse=True)
def comparing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TESTSCRIPTS", raising=False)


def test_a_script_whose_output_is_as_recorded_passes(tmp_path: Path) -> None:
    assert run(tmp_path, SCRIPT) == SCRIPT


def test_another_output_fails_and_is_recorded_on_demand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = SCRIPT.replace("---\none", "---\nzero").replace("error: no c", "")
    with pytest.raises(AssertionError, match="zero"):
        run(tmp_path, old)
    monkeypatch.setenv("TESTSCRIPTS", "record")
    assert run(tmp_path, old) == SCRIPT


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("set a one\n!get a\n---\n", AssertionError, "line 2: get did not fail"),
        ("get a\n---\n", ValueError, "no a"),
        ("!get key\n---\n", KeyError, "key"),
        ("delete a\n---\n", ScriptError, "script.txt, line 1: no command 'delete'"),
        ("set a\n---\n", ScriptError, "line 1: set needs another argument"),
        ("set a b c\n---\n", ScriptError, r"set does not know \['c'\]"),
        ("set a 'b\n---\n", ScriptError, "line 1: No closing quotation"),
    ],
)
def test_what_a_script_gets_wrong_is_said_with_its_line(
    tmp_path: Path, text: str, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        run(tmp_path, text)
