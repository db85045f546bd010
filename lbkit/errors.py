"""What can go wrong, split by what the operator does next.

LbkitError                exit 1
├── InventoryError        hosts.toml is wrong: mend it; nothing was contacted
│   └── InventoryUnreadable   it is not there, or not TOML
├── NoSuchHost            no host of the inventory has that name
├── Unreachable           a host did not answer, or is not the one we know; nothing was changed there
├── Refused               a safety rule forbids it: the message names the rule and the way on
├── Locked                somebody else is at work on the pair
├── CommandFailed         a command failed on a host: host, command, exit code, its last lines
├── AwsFailed             a call to AWS failed: what was tried, on what, AWS's code and message
├── Interrupted           exit 130: Ctrl-C, where something must be said of what was going on
└── Undecided             a person must decide: what was seen does not say what is right

Every message ends with the next step.
"""

from __future__ import annotations

from dataclasses import dataclass


class LbkitError(Exception):
    """Base of all expected failures. `str()` is the whole text for the operator."""

    exit_code = 1


def add(error: LbkitError, sentence: str) -> None:
    """Its text has one more sentence, before its next step."""
    what, mark, next_step = str(error).rpartition("\nNext: ")
    error.args = (f"{what}\n{sentence}{mark}{next_step}" if mark else f"{error}\n{sentence}",)


@dataclass(frozen=True)
class Fault:
    """One thing wrong in the inventory.

    key: dotted path as written in hosts.toml (`hosts[1].port`). value: its repr, never a secret.
    expected: what would have been right, as a phrase that completes "expected …".
    mend: what puts it right, where that is not an edit of the inventory.
    """

    key: str
    value: str
    expected: str
    mend: str = ""

    def __str__(self) -> str:
        if self.value == "(missing)":
            return f"{self.key} is missing: expected {self.expected}"
        return f"{self.key} = {self.value}: expected {self.expected}"


class InventoryError(LbkitError):
    """The inventory has faults: all of them, not only the first."""

    def __init__(self, path: str, faults: tuple[Fault, ...]) -> None:
        self.path, self.faults = path, faults
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        lines = [f"{path}: {count}; nothing was contacted.", *(f"  {fault}" for fault in faults)]
        steps = dict.fromkeys(fault.mend or f"mend {path}" for fault in faults)
        lines.append(f"Next: {', '.join(steps)}, then `inv plan`.")
        super().__init__("\n".join(lines))


class InventoryUnreadable(InventoryError):
    """The inventory is not there, or is not TOML. next_step: what to do, without its full stop."""

    def __init__(self, path: str, reason: str, next_step: str) -> None:
        self.path, self.faults = path, ()
        LbkitError.__init__(self, f"{path}: {reason}; nothing was contacted.\nNext: {next_step}.")


class NoSuchHost(LbkitError):
    """A host was named that the inventory does not have."""

    def __init__(self, name: str, known: tuple[str, ...], path: str) -> None:
        self.name, self.known = name, known
        super().__init__(
            f"{path} has no host {name!r}.\nNext: name one of active, passive, {', '.join(known)}."
        )


class Unreachable(LbkitError):
    """A host did not answer, refused us, or showed a host key that is not the known one.

    down: nothing answered at its address. Any other reason shows a host that lives.
    """

    def __init__(self, message: str, *, down: bool = False) -> None:
        super().__init__(message)
        self.down = down


class Refused(LbkitError):
    """A safety rule forbids the step."""


class Locked(LbkitError):
    """Another operator (or the sync, or a drill) holds the pair's lock."""


class CommandFailed(LbkitError):
    """A command or write failed on a host."""


def told_by(host: str, said: str) -> CommandFailed:
    """What failed on a host, in the words of what runs there, and the next step, where these name none."""
    if "\nNext: " not in said:
        said = f"{said}\nNext: mend that on {host}, then run the same command again."
    return CommandFailed(f"{host}: {said}")


class AwsFailed(LbkitError):
    """A call to AWS had no answer or was refused. code: AWS's own, "" where it did not answer."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class Interrupted(LbkitError):
    """The operator pressed Ctrl-C."""

    exit_code = 130


class Undecided(LbkitError):
    """What was seen does not tell what is right; a person must decide."""
