"""The commands as an operator meets them: help, docs, start-up time, and what may be imported where."""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from invoke import Collection, Task

import tasks
from lbkit import steps

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SLOW = ("boto3", "botocore", "fabric", "paramiko", "pydantic", "jinja2", "rich", "moto")


def all_tasks(collection: Collection, prefix: str = "") -> dict[str, Task]:
    """Task by the name that the operator types."""
    found = {prefix + name.replace("_", "-"): task for name, task in collection.tasks.items()}
    for name, inner in collection.collections.items():
        found |= all_tasks(inner, f"{prefix}{name}.")
    return found


TASKS = all_tasks(tasks.ns)
SHORT = {name: f"{name}.{inner.default}" for name, inner in tasks.ns.collections.items() if inner.default}


def options(name: str) -> set[str]:
    """What may be given to a task, as typed after `--`. (invoke's get_arguments() takes the help away.)"""
    return {option.replace("_", "-") for option in inspect.signature(TASKS[name].body).parameters} - {"c"}


def inv(*words: str) -> str:
    """Output of an inv command that must succeed, on a terminal of 80 columns."""
    program = "import sys; from invoke.main import program; program.run(sys.argv)"
    return subprocess.run(
        [sys.executable, "-c", program, *words],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "COLUMNS": "80", "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


@pytest.mark.skipif(os.getuid() != 0, reason="takes on another uid")
def test_uid_without_a_name_and_a_home_meets_no_traceback() -> None:
    program = (
        "import os, getpass, pathlib, pwd, invoke.exceptions\n"
        "from lbkit import commands, errors, terminal\n"
        "os.setgid(54321); os.setuid(54321)\n"
        "commands.reports(lambda: print(getpass.getuser(), pathlib.Path.home()))()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "uid-54321 /nonexistent\n", done.stderr


@pytest.mark.parametrize("name", TASKS)
def test_every_task_has_help_with_an_example(name: str) -> None:
    text = TASKS[name].__doc__ or ""
    assert len(text.strip().splitlines()[0]) > 20
    assert re.search(rf"Example: (sudo )?inv {re.escape(name)}\b", text), text


@pytest.mark.parametrize("name", TASKS)
def test_every_task_stands_in_the_readme(name: str) -> None:
    assert f"`inv {name}" in README


@pytest.mark.parametrize("name", TASKS)
def test_help_explains_every_option_within_80_columns(name: str) -> None:
    text = inv("--help", name)
    assert max(map(len, text.splitlines())) <= 80, text
    task = TASKS[name]
    for argument in task.get_arguments():
        assert argument.help, f"--{argument.name} says nothing"


def test_list_fits_80_columns_and_shows_every_task() -> None:
    text = inv("--list")
    assert max(map(len, text.splitlines())) <= 80, text
    assert all(f" {name} " in text for name in TASKS)


def test_list_imports_nothing_slow() -> None:
    program = (
        "import json, sys; from invoke.main import program; program.run(['inv', '--list'], exit=False); "
        "print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = json.loads(done.stdout.splitlines()[-1])
    assert [name for name in SLOW if name in loaded] == []


# ── the README is true ───────────────────────────────────────────────────────────────────────────────────


def test_readme_names_only_commands_that_exist() -> None:
    named = set(re.findall(r"`(?:sudo )?(?:\.venv/bin/)?inv ([a-z][a-z0-9.-]*)", README))
    later = set(re.findall(r"`inv ([a-z][a-z0-9.-]*)[^`]*`[^|\n]*\|[^|\n]*\| not there yet", README))
    assert named - later - set(TASKS) - set(SHORT) == set()
    assert later & set(TASKS) == set(), "these are there now: say so in the README"


def test_readme_begins_with_the_two_commands_that_are_right() -> None:
    blocks = re.findall(r"```(?:sh|console)\n(.*?)```", README, re.DOTALL)
    lines = [line.strip() for line in blocks[0].splitlines() if line.strip()]
    assert [line.split("#")[0].strip() for line in lines] == ["make demo", "make test"]
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"help", "demo", "test", "lint", "bench", "lock", "clean"} <= targets
    assert set(re.findall(r"`make ([a-z]+)", README)) <= targets


def test_readme_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target


# ── who may import what ──────────────────────────────────────────────────────────────────────────────────


def imported(path: Path) -> set[str]:
    """Top-level names of everything that a module imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


def importers(*libraries: str) -> set[str]:
    modules = [ROOT / "tasks.py", *(ROOT / "lbkit").rglob("*.py")]
    return {str(path.relative_to(ROOT)) for path in modules if imported(path) & set(libraries)}


def test_only_remote_knows_fabric() -> None:
    assert importers("fabric") == {"lbkit/remote.py"}
    assert importers("paramiko") == {"lbkit/remote.py", "lbkit/knownhosts.py"}


def test_only_aws_and_the_lab_know_boto3() -> None:
    assert all(name.startswith(("lbkit/aws/", "lbkit/lab/")) for name in importers("boto3", "botocore"))


def test_only_the_inventory_knows_pydantic() -> None:
    assert all(name.startswith("lbkit/inventory/") for name in importers("pydantic", "pydantic_core"))


def test_the_hand_takes_nothing_but_the_standard_library() -> None:
    for path in (ROOT / "lbkit/hand").glob("*.py"):
        assert imported(path) - {"lbkit"} <= set(sys.stdlib_module_names), path.name


# ── what is committed ────────────────────────────────────────────────────────────────────────────────────

# Built from parts, so that this file does not name what it forbids.
SECRETS = re.compile("|".join(["-----BEGIN [A-Z ]*PRIV" + "ATE KEY", r"\b(AKIA|ASIA)[0-9A-Z]{16}\b"]))
MACHINE = re.compile(r"(?<![\w}])/(?:home/(?!ubuntu\b)[a-z]+|wo" + r"rk)/[\w.]")


def committed() -> list[Path]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_no_secret_and_no_path_of_one_machine_is_committed() -> None:
    found = []
    for path in committed():
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            if SECRETS.search(line) or MACHINE.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    assert found == []


def test_requirements_are_pinned_and_hashed_and_name_no_index() -> None:
    for name in ("requirements.txt", "requirements-dev.txt"):
        text = (ROOT / name).read_text()
        pins = re.findall(r"^[a-z][\w.-]*(.*)$", text, re.MULTILINE)
        assert pins
        assert all(pin.startswith("==") for pin in pins)
        assert text.count("--hash=sha256:") >= len(pins)
        assert "://" not in text


def fails(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """An inv command whose inventory is not there."""
    program = "import sys; from invoke.main import program; program.run(sys.argv)"
    env = {"PATH": "/usr/bin:/bin", "LBKIT_HOSTS": "/no/such/file", **environment}
    return subprocess.run(
        [sys.executable, "-c", program, *words], cwd=ROOT, env=env, capture_output=True, text=True
    )


@pytest.mark.parametrize(
    "name", [name for name in TASKS if "json" in options(name) and not name.startswith("lab.")]
)
def test_json_is_json_also_where_the_command_fails(name: str) -> None:
    on_server = ("app-1",) if re.fullmatch(r"backend\.(drain|maint|ready|weight)", name) else ()
    done = fails(name, *{"maintenance": ("on",)}.get(name, on_server), "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 1
    assert set(found) == {"error", "message", "next_step"}
    assert "/no/such/file" in done.stderr


@pytest.mark.parametrize("name", steps.IN_ACCOUNT)
def test_a_step_in_aws_is_refused_for_one_host_with_the_next_step(name: str) -> None:
    done = fails(name, "--plan", "--host", "lb-1")
    assert done.returncode == 1
    assert f"Next: inv {name} --plan, without --host." in done.stderr


def test_a_terminal_without_the_signs_still_gets_the_text() -> None:
    done = fails("verify", PYTHONIOENCODING="ascii", LBKIT_HOSTS="/no/such/디렉터리")
    assert done.returncode == 1
    assert "Next: " in done.stderr
    assert "Traceback" not in done.stderr


# ── an output that cannot be written ────────────────────────────────────────────────────────────────────

SHOWN = [
    ("cheatsheet",),
    ("--list",),
    (),
    ("--complete", "--", "inv"),
    ("plan", "--json"),
    ("--help", "setup"),
]


def into(stdout: object, *words: str, buffered: bool = True) -> subprocess.CompletedProcess[str]:
    """An inv command that writes there, as the shell starts it. plan: its inventory is not there."""
    env = {"PATH": "/usr/bin:/bin", "LBKIT_HOSTS": "/no/such/file", "LC_ALL": "C.UTF-8"}
    env |= {} if buffered else {"PYTHONUNBUFFERED": "1"}
    argv = [str(Path(sys.executable).with_name("inv")), *words]
    return subprocess.run(argv, cwd=ROOT, env=env, stdout=stdout, stderr=subprocess.PIPE, text=True)  # type: ignore[call-overload]


@pytest.mark.parametrize("buffered", [True, False])
@pytest.mark.parametrize("words", SHOWN, ids=" ".join)
def test_a_disk_that_is_full_is_told_in_a_line(words: tuple[str, ...], buffered: bool) -> None:
    with Path("/dev/full").open("w") as full:
        done = into(full, *words, buffered=buffered)
    said = [line for line in done.stderr.splitlines() if "/no/such/file" not in line and "Next: " not in line]
    assert (done.returncode, said) == (1, ["stdout cannot be written: No space left on device"])


@pytest.mark.parametrize("buffered", [True, False])
@pytest.mark.parametrize("words", SHOWN, ids=" ".join)
def test_a_reader_who_has_seen_enough_ends_the_command_without_a_word(
    words: tuple[str, ...], buffered: bool
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = into(writer, *words, buffered=buffered)
    finally:
        os.close(writer)
    said = [line for line in done.stderr.splitlines() if "/no/such/file" not in line and "Next: " not in line]
    assert (done.returncode, said) == (141, [])  # as of a program that SIGPIPE ends


def test_an_output_that_is_closed_meets_no_traceback() -> None:
    argv = ["sh", "-c", '"$@" >&-', "sh", str(Path(sys.executable).with_name("inv")), "cheatsheet"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
