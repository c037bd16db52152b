"""Options that all commands share, and files that their help names."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from chronotope.cli.main import app

PROJECT = Path(__file__).parents[2]
WRITE_NOTHING = {
    *("recommend", "explain", "serve", "experiment", "history", "report", "anomalies held"),
    *("audit certificates", "audit list", "audit verify", "pseudonyms new-key", "quarantine show"),
}


def commands(group: Any, *names: str) -> Iterator[tuple[str, Any]]:
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, *names, name)
    if not hasattr(group, "commands"):
        yield " ".join(names), group


COMMANDS = dict(commands(get_command(app)))


def with_flag(flag: str) -> set[str]:
    return {
        name
        for name, command in COMMANDS.items()
        if any(flag in option.opts and option.is_flag for option in command.params)
    }


def test_every_command_prints_json() -> None:
    assert with_flag("--json") == set(COMMANDS)


def test_every_command_that_writes_has_a_dry_run() -> None:
    assert with_flag("--dry-run") == set(COMMANDS) - WRITE_NOTHING


def test_files_that_the_help_names_exist() -> None:
    texts = [command.help or "" for command in COMMANDS.values()]
    texts += [getattr(option, "help", None) or "" for c in COMMANDS.values() for option in c.params]
    paths = set(re.findall(r"(?:conf|docs)/[\w/.-]+\.(?:yaml|md)", " ".join(texts)))
    assert len(paths) >= 5
    assert {
        path for path in paths if "DATASET" not in path and not (PROJECT / path).exists()
    } == set()


def test_the_package_runs_as_a_program() -> None:
    words = [sys.executable, "-m", "chronotope", "--version"]
    shown = subprocess.run(  # noqa: S603 - own arguments
        words,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert shown.stdout.startswith("chronotope ")
