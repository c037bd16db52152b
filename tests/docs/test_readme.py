"""README.md: what is cheap is run, the rest is parsed, and what it names is there."""

import re
import shlex
from pathlib import Path

import pytest
import yaml
from typer.core import TyperCommand
from typer.main import get_command
from typer.testing import CliRunner

from benchmarks import ingest, next_place
from chronotope.cli.main import app
from chronotope.datasets.spec import DatasetSpec

PROJECT = Path(__file__).parents[2]
README = (PROJECT / "README.md").read_text(encoding="utf-8")
LINES = [
    line
    for found in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in found.split("\n")
]
COMMANDS = dict(get_command(app).commands)  # type: ignore[attr-defined]


OTHERS_THAT_WRITE = (
    "anomalies release", "audit expire", "audit rotate", "forget",
    "classify", "compact", "doctor", "embed", "init", "monitor", "opt-out", "promote",
    "pseudonyms rotate",
    "quarantine discard", "quarantine replay",
    "federate-client", "migrate-state",
    "rebucket", "retain",
    "rollback", "score", "simulate", "synthesise", "up",
)  # fmt: skip


def lines(start: str) -> list[list[str]]:
    """Words after ``start`` of each line of a shell block that begins with it."""
    return [shlex.split(line[len(start) :]) for line in LINES if line.startswith(start)]


def test_the_cheap_commands_run() -> None:
    asked = [["--help"], ["doctor", "--json"], *([name, "--help"] for name in COMMANDS)]
    codes = {" ".join(words): CliRunner().invoke(app, words).exit_code for words in asked}
    assert codes.pop("doctor --json") in {0, 1}  # 1: this machine lacks something
    assert set(codes.values()) == {0}, codes


def test_every_chronotope_line_is_understood() -> None:
    told = lines("chronotope ")
    assert len(told) >= 4
    for name, *words in told:
        COMMANDS[name].make_context(name, words)


def test_every_command_is_in_the_table() -> None:
    table = re.findall(r"^\| `chronotope (.*?) \|", README, re.MULTILINE)
    named = set(re.findall(r"[a-z]+(?:-[a-z]+)*", " ".join(table)))
    assert named == set(COMMANDS)


def leaf_commands() -> dict[str, TyperCommand]:
    """Commands by name; those of a group by the names of both."""
    leaves = {name: cmd for name, cmd in COMMANDS.items() if not hasattr(cmd, "commands")}
    for group_name in set(COMMANDS) - set(leaves):
        for name, cmd in COMMANDS[group_name].commands.items():
            leaves[f"{group_name} {name}"] = cmd
    return leaves


def test_every_command_knows_json_and_those_that_write_know_dry_run() -> None:
    flags = {
        name: {flag for p in cmd.params for flag in p.opts} for name, cmd in leaf_commands().items()
    }
    assert all("--json" in known for known in flags.values())
    writing = {name for name, known in flags.items() if "--dry-run" in known}
    trains = {
        "anomalies train",
        "demo",
        "ingest",
        "train",
        "pretrain",
        "federate",
        "feedback",
        "backfill",
        "compress",
    }
    assert writing == trains | set(OTHERS_THAT_WRITE)


def test_make_targets_are_there() -> None:
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    for (target,) in lines("make "):
        assert re.search(rf"^{target}: .*## ", makefile, re.MULTILINE), target


@pytest.mark.parametrize("module", [ingest, next_place])
def test_benchmarks_know_their_flags(module: object) -> None:
    name = getattr(module, "__name__", "")
    source = (PROJECT / f"{name.replace('.', '/')}.py").read_text(encoding="utf-8")
    told = lines(f"python -m {name} ")
    assert told
    flags = {word for words in told for word in words if word.startswith("--")}
    assert all(f'"{flag}"' in source for flag in flags), flags


def test_what_is_linked_is_there() -> None:
    linked = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert len(linked) > 5
    assert [path for path in linked if not (PROJECT / path).exists()] == []


def test_every_package_is_in_the_layout() -> None:
    packages = {
        path.parent.name for path in (PROJECT / "components/chronotope").glob("*/__init__.py")
    }
    layout = README.split("## Layout")[1].split("## Limits")[0]
    assert packages | {"flows"} == set(re.findall(r"`([a-z]+)/?`", layout)) & (packages | {"flows"})


def test_the_yaml_is_a_dataset_in_ten_lines() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert len(text.splitlines()) == 10
    assert DatasetSpec.model_validate(yaml.safe_load(text)).name == "cafe"
