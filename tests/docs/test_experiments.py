"""docs/experiments.md: its design is one, its commands are understood, its event is taken."""

import json
import re
import shlex
from pathlib import Path

import yaml
from pydantic import TypeAdapter
from typer.main import get_command

from chronotope.cli.main import app
from chronotope.experiments.experiment import Experiment, Exploration
from chronotope.serving.api.requests import PostedRecord

TEXT = (Path(__file__).parents[2] / "docs" / "experiments.md").read_text(encoding="utf-8")


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", TEXT, re.DOTALL)


def test_the_design_is_one() -> None:
    (text,) = blocks("yaml")
    told = Experiment.model_validate(yaml.safe_load(text))
    assert [arm.name for arm in told.live] == ["control", "lighter"]
    assert [arm.model for arm in told.shadows] == ["challenger"]


def test_the_commands_are_understood() -> None:
    commands = dict(get_command(app).commands)  # type: ignore[attr-defined]
    lines = [line for block in blocks("sh") for line in block.strip().split("\n")]
    assert len(lines) == 2
    for line in lines:
        _, name, *words = shlex.split(line)
        commands[name].make_context(name, words)
    flags = {flag for command in commands.values() for p in command.params for flag in p.opts}
    assert set(re.findall(r"`(--[a-z-]+)", TEXT)) <= flags


def test_the_event_is_taken() -> None:
    (text,) = blocks("json")
    told = TypeAdapter(PostedRecord).validate_python(json.loads(text))
    assert told.answer_id


def test_the_kinds_are_those_there_are() -> None:
    kinds = Exploration.model_json_schema()["properties"]["kind"]["enum"]
    assert set(re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE)) == set(kinds)
