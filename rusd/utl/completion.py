"""Completion of verbs and flags for shells, and of file names where no verb fits."""

from collections.abc import Mapping, Sequence
from typing import Final

#: By the verbs before the word (" snapshot restore", empty for none): what may follow.
Words = Mapping[str, Sequence[str]]

_BASH: Final = """\
_rusdutl() {{
    local word verbs="" words=""
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case "$verbs $word" in {verbs}) verbs="$verbs $word" ;; esac
    done
    case "$verbs" in
{cases}
    esac
    COMPREPLY=($(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -o default -F _rusdutl rusdutl
"""
_ZSH: Final = """\
#compdef rusdutl
_rusdutl() {{
    local word verbs="" found=""
    for word in ${{words[2,CURRENT-1]}}; do
        case "$verbs $word" in {verbs}) verbs="$verbs $word" ;; esac
    done
    case "$verbs" in
{cases}
    esac
    compadd -- ${{=found}}
    _files
}}
compdef _rusdutl rusdutl
"""
_FISH: Final = """\
function __rusdutl_verbs
    set -l verbs ""
    for word in (commandline -opc)[2..-1]
        switch "$verbs $word"
            case {verbs}
                set verbs "$verbs $word"
        end
    end
    echo "$verbs"
end
{cases}
"""


def _bash(words: Words, name: str, template: str) -> str:
    cases = "\n".join(
        f"        {verbs!r}) {name}='{' '.join(may)}' ;;" for verbs, may in words.items()
    )
    return template.format(verbs="|".join(repr(verbs) for verbs in words if verbs), cases=cases)


def bash(words: Words) -> str:
    """Return the script for bash."""
    return _bash(words, "words", _BASH)


def zsh(words: Words) -> str:
    """Return the script for zsh."""
    return _bash(words, "found", _ZSH)


def fish(words: Words) -> str:
    """Return the script for fish."""
    cases = "\n".join(
        f"complete -c rusdutl -n 'test (__rusdutl_verbs) = \"{verbs}\"' -a '{' '.join(may)}'"
        for verbs, may in words.items()
    )
    return _FISH.format(verbs=" ".join(repr(verbs) for verbs in words if verbs), cases=cases)


SHELLS: Final = {"bash": bash, "zsh": zsh, "fish": fish}
