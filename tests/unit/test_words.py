"""What `inv` says of a command line that it cannot run."""

from __future__ import annotations

import shlex

import pytest
from invoke import Collection, Exit, task

import tasks
from lbkit import words


def check(line: str) -> None:
    words.check(tasks.ns, ["/somewhere/inv", *shlex.split(line)])


@pytest.mark.parametrize(
    ("line", "what", "next_step"),
    [
        ("setp", "There is no command setp", "inv setup"),
        ("failovertest --json", "There is no command failovertest", "inv failover-test"),
        (
            "lab",
            "There is no command lab",
            "inv lab.up or inv lab.down or inv lab.status or inv lab.power or inv lab.shell",
        ),
        ("xyzzy", "There is no command xyzzy", "inv --list"),
        ("--help setp", "There is no command setp", "inv setup"),
        ("--hots", "There is no option --hots", "inv --list"),
        ("setup --hots lb-1", "inv setup has no option --hots", "--host? (inv --help setup)"),
        ("lab.up --siute trixie", "inv lab.up has no option --siute", "--suite? (inv --help lab.up)"),
        ("plan -x", "inv plan does not take -x", "inv --help plan"),
        ("setup --plan", "inv setup does not take --plan", "inv plan"),
        ("cert.renew --host lb-1", "inv cert.renew does not take --host", "inv --help cert.renew"),
        ("switchover lb-2", "inv switchover does not take lb-2", "inv switchover --to lb-2"),
        ("plan --host", "inv plan: --host needs a value", "inv plan --host passive"),
        (
            "failover-test --yes-really",
            "inv failover-test: --yes-really needs a value",
            "inv failover-test --",
        ),
        ("maintenance", "inv maintenance needs state", "inv maintenance on --host lb-1"),
    ],
)
def test_what_there_is_not_is_named_with_the_next_step(line: str, what: str, next_step: str) -> None:
    with pytest.raises(Exit) as refusal:
        check(line)
    assert refusal.value.code == 1
    first, second = refusal.value.message.splitlines()
    assert first == f"{what}; nothing was done."
    assert second.startswith(f"Next: {next_step}")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "--list",
        "--help setup",
        "--help",
        "--help backend",
        "setup --help",
        "-l",
        "plan --host lb-1 verify",
        "--complete -- inv setp",
    ],
)
def test_what_invoke_understands_is_left_to_it(line: str) -> None:
    check(line)


def test_every_example_in_the_help_is_understood() -> None:
    for name in tasks.ns.task_names:
        for example in words.examples(tasks.ns[name].__doc__):
            check(example.removeprefix("sudo ").removeprefix("inv "))


def test_what_the_help_says_of_options_is_still_there_afterwards() -> None:
    @task(help={"host": "which"})
    def one(_, host=None):
        """Does nothing."""

    commands = Collection(one)
    words.check(commands, ["inv", "one", "--help"])
    assert commands["one"].help == {"host": "which"}


def test_another_programs_words_are_none_of_ours() -> None:
    words.check(tasks.ns, ["/usr/bin/pytest", "--no-such-thing"])
