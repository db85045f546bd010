"""What was typed, looked at before invoke runs it: a word that it does not know is told with the closest one.

Invoke's own messages (`No idea what 'setp' is!`) name no next step.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from pathlib import Path

from invoke import Collection, Exit, ParseError, Parser, Program
from invoke.parser import ParserContext


def check(commands: Collection, argv: Sequence[str]) -> None:
    """Raises Exit where the command line names what there is not, or leaves out what a command needs.

    argv: as sys.argv. Of another program than invoke's own it says nothing.
    """
    if Path(argv[0]).name not in ("inv", "invoke"):
        return
    core = Program()
    known = ParserContext(args=[*core.core_args(), *core.task_args()])
    parsed = Parser(initial=known, ignore_unknown=True).parse_argv(list(argv[1:]))  # as invoke does
    names, words = list(commands.task_names), parsed.unparsed
    asked_about = parsed[0].args.help.value  # a name, where one stands behind it
    if isinstance(asked_about, str) and not asked(commands, [asked_about]):
        raise Exit(message=in_no_command(f"No idea what '{asked_about}' is!", names), code=1)
    try:
        Parser(contexts=asked(commands, words), initial=known).parse_argv(words)
    except ParseError as error:
        name = error.context.name if error.context else None
        if error.context is None or name is None:
            said = in_no_command(str(error), names)
        else:
            shown = examples(commands[name].__doc__ or "")
            said = in_command(str(error), name, list(error.context.flags), shown[0] if shown else "")
        raise Exit(message=said, code=1) from None


def asked(commands: Collection, words: Sequence[str]) -> list[ParserContext]:
    """How the commands that are named are called."""
    found = []
    for name, aliases in commands.task_names.items():
        if {name, *aliases}.intersection(words):
            task = copy.copy(commands[name])
            task.help = dict(task.help)  # invoke takes out of it what it has read
            found.append(ParserContext(name=name, aliases=aliases, args=task.get_arguments()))
    return found


def examples(text: str) -> list[str]:
    """How a command may be called, by its help."""
    return re.findall(r"Example: (.+)", text)


def unknown(said: str) -> str:
    """The word that invoke does not know; empty where that is not what it says."""
    found = re.fullmatch(r"No idea what '(.*)' is!", said)
    return found[1] if found else ""


def in_no_command(said: str, names: Sequence[str]) -> str:
    """What is wrong before any command, and the next step. said: invoke's words. names: of all commands."""
    import difflib

    word = unknown(said)
    below = [one for one in names if one.startswith(f"{word}.")]
    close = [f"inv {one}" for one in (below or difflib.get_close_matches(word, names))]
    kind = "option" if word.startswith("-") else "command"
    what = f"There is no {kind} {word}" if word else said
    return f"{what}; nothing was done.\nNext: {' or '.join(close) or 'inv --list'}"


def in_command(said: str, name: str, flags: Sequence[str], example: str) -> str:
    """What is wrong with the words after a command, and the next step. said: invoke's words. flags: the
    command's. example: how it may be called."""
    import difflib

    word = unknown(said)
    if close := difflib.get_close_matches(word, flags, 1) if word.startswith("-") else []:
        return f"inv {name} has no option {word}; nothing was done.\nNext: {close[0]}? (inv --help {name})"
    if word.startswith("-"):  # the example would do something else than what was meant
        looks = "inv plan" if (name, word) == ("setup", "--plan") else f"inv --help {name}"
        return f"inv {name} does not take {word}; nothing was done.\nNext: {looks}"
    if word:
        what = f"inv {name} does not take {word}"
    elif flag := re.search(r"Argument: ([\w-]+).* needed value", said):
        what = f"inv {name}: --{flag[1].replace('_', '-')} needs a value"
    elif missing := re.search(r"positional arguments: (.*)", said):
        what = f"inv {name} needs {missing[1].replace(chr(39), '')}"
    else:
        what = f"inv {name}: {said}"
    return f"{what}; nothing was done.\nNext: {example or f'inv --help {name}'}"
