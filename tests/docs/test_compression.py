"""docs/compression.md: its objective is the default, its commands are understood."""

import re
import shlex
from pathlib import Path
from typing import get_args

import yaml
from typer.main import get_command

from benchmarks.compression import _parser
from chronotope.cli.main import app
from chronotope.compression.config import CompressionConfig, Variant

DOC = (Path(__file__).parents[2] / "docs" / "compression.md").read_text(encoding="utf-8")
LINES = [
    line for block in re.findall(r"```sh\n(.*?)```", DOC, re.DOTALL) for line in block.splitlines()
]


def test_the_objective_is_told_with_its_defaults() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", DOC, re.DOTALL)
    told = yaml.safe_load(block)["compression"]
    default = CompressionConfig().model_dump()
    assert told == {name: default[name] for name in told}
    assert set(told) == {name for name in default if name.startswith("max_")}


def test_the_commands_are_understood() -> None:
    told = [shlex.split(line)[1:] for line in LINES if line.startswith("chronotope ")]
    assert len(told) >= 2
    for name, *words in told:
        command = get_command(app).commands[name]  # type: ignore[attr-defined]
        assert command.make_context(name, words).params["dataset"] == "simulated_city"
    for line in LINES:
        if line.startswith("python -m benchmarks.compression "):
            _parser().parse_args(shlex.split(line)[3:])


def test_what_is_named_is_there() -> None:
    assert [name for name in get_args(Variant) if f"`{name}`" not in DOC] == []
    for name in re.findall(r"`(\w+)`", DOC):
        if name.startswith(("student_", "pruned_", "n_trials", "timeout_s", "size_tie")):
            assert name in CompressionConfig.model_fields, name
