"""How shells ask for completions, and what they are answered: a line for each candidate, in three fields.

What belongs here: one script for each shell, and the talk between it and surveil. What does not: the candidates,
which click and `completing` know.

click has scripts of its own. Theirs lose what is behind a comma in bash and fish, as in `test[python=3.12,os=linux]`,
do not undo that bash splits at `=` and `:`, have bash run what stands in a name like `$(this)`, and in zsh the second
completion of a session finds nothing. Every shell here hands over the line up to the cursor, as it was typed, and gets
lines of `KIND TAB VALUE TAB DESCRIPTION`. PowerShell keeps click's.
"""

from __future__ import annotations

import os
import re
from typing import Any, ClassVar, Final

import click
from click.shell_completion import CompletionItem, ShellComplete, get_completion_class, split_arg_string

from surveil.cli.grammar import COMPLETE, PROGRAM

LINE: Final = "_SURVEIL_LINE"
"""The variable in which it hands over what was typed."""
BREAKS: Final = "=:"
"""Where bash takes a word for several."""

_BASH: Final = """\
_surveil_completion() {
    local kind value about
    COMPREPLY=()
    while IFS=$'\\t' read -r kind value about; do
        case "$kind" in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain) COMPREPLY+=("$value") ;;
        esac
    done < <(env %(complete_var)s=bash_complete _SURVEIL_LINE="${COMP_LINE:0:COMP_POINT}" %(prog_name)s)
    return 0
}
complete -o nosort -F _surveil_completion %(prog_name)s
"""
_ZSH: Final = """\
#compdef %(prog_name)s

_surveil_completion() {
    local kind value about
    local -a plain described
    (( $+commands[%(prog_name)s] )) || return 1
    while IFS=$'\\t' read -r kind value about; do
        case "$kind" in
            dir) _path_files -/ ;;
            file) _path_files -f ;;
            plain)
                plain+=("$value")
                described+=("$value${about:+  -- $about}")
                ;;
        esac
    done < <(env %(complete_var)s=zsh_complete _SURVEIL_LINE="${(j: :)words[1,CURRENT]}" %(prog_name)s)
    (( $#plain )) && compadd -U -l -V surveil -d described -a plain
}

if [[ $funcstack[1] == _%(prog_name)s ]]; then
    _surveil_completion "$@"
else
    compdef _surveil_completion %(prog_name)s
fi
"""
_FISH: Final = """\
function _surveil_completion
    env %(complete_var)s=fish_complete _SURVEIL_LINE=(commandline -cp | string collect) %(prog_name)s | \\
    while read -l -d \\t kind value about
        switch $kind
            case dir
                __fish_complete_directories $value
            case file
                __fish_complete_path $value
            case plain
                printf '%%s\\t%%s\\n' $value $about
        end
    end
end

complete --no-files --keep-order --command %(prog_name)s --arguments "(_surveil_completion)"
"""


class _Typed(ShellComplete):
    """A shell that hands over the line as it was typed up to the cursor."""

    def get_completion_args(self) -> tuple[list[str], str]:
        """The whole words after the program's name, and the one that is not whole yet."""
        line = os.environ.get(LINE, "")
        words = split_arg_string(line)
        # After a blank that is not inside of quotes a new word begins.
        begun = bool(words) and split_arg_string(line + "x")[-1] != "x"
        incomplete = words.pop() if begun else ""
        return words[1:], incomplete

    def format_completion(self, item: CompletionItem) -> str:
        """One candidate's line."""
        about = " ".join((item.help or "").split())
        return f"{item.type}\t{item.value}\t{about}"


class Bash(_Typed):
    """bash 4.4 and newer."""

    name: ClassVar[str] = "bash"
    source_template: ClassVar[str] = _BASH

    def format_completion(self, item: CompletionItem) -> str:
        """One candidate's line, without what bash takes for an earlier word, and quoted as the rest has to be: bash
        writes what it gets into the command as it is.
        """
        before, quote = _before_and_quote(os.environ.get(LINE, ""))
        value = _in_bash(item.value.removeprefix("".join(split_arg_string(before))), quote)
        return super().format_completion(CompletionItem(value, type=item.type, help=item.help))


def _before_and_quote(line: str) -> tuple[str, str]:
    """Of the last word of a line of bash, what bash keeps when it completes it, and the quote that is open there."""
    begun = kept = 0
    quote, escaped = "", False
    for at, char in enumerate(line, start=1):
        if escaped:
            escaped = False
        elif char == "\\" and quote != "'":
            escaped = True
        elif quote:
            if char == quote:
                quote, kept = "", at
        elif char in "'\"":
            quote, kept = char, at
        elif char in BREAKS:
            kept = at
        elif char.isspace():
            begun = kept = at
    return line[begun:kept], quote


def _in_bash(text: str, quote: str) -> str:
    """The text as it is typed after this quote; after none, each mark that may mean something gets a backslash."""
    if quote == "'":
        return text.replace("'", "'\\''")
    if quote == '"':
        # A backslash before `!` would stay there.
        return re.sub(r'(["$`\\])', r"\\\1", text).replace("!", "\"'!'\"")
    return re.sub(r"([^\w%+=:,./@-])", r"\\\1", text)


class Zsh(_Typed):
    """zsh with its completion system."""

    name: ClassVar[str] = "zsh"
    source_template: ClassVar[str] = _ZSH


class Fish(_Typed):
    """fish 3 and newer."""

    name: ClassVar[str] = "fish"
    source_template: ClassVar[str] = _FISH


def script_for(shell: str, command: click.Command) -> str | None:
    """What teaches the shell surveil's completions; None where this version of click does not know it."""
    kind = _kind(shell)
    return None if kind is None else kind(command, {}, PROGRAM, COMPLETE).source()


def answer(command: click.Command, instruction: str) -> int:
    """Print what a shell asked for with `instruction`, like `zsh_complete`; returns the exit code."""
    kind = _kind(instruction.partition("_")[0])
    if kind is None or not instruction.endswith("_complete"):
        return 1
    click.echo(kind(command, {}, PROGRAM, COMPLETE).complete())
    return 0


def _kind(shell: str) -> type[ShellComplete] | None:
    ours: dict[str, Any] = {"bash": Bash, "zsh": Zsh, "fish": Fish}
    return ours.get(shell) or get_completion_class(shell)
