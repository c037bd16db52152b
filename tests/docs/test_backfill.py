"""docs/backfill.md: its commands are understood, and what it names is there."""

import re
import shlex
from pathlib import Path

from typer.main import get_command

from chronotope.cli.main import app
from chronotope.pipelines.publish_backtest import PAGE, TABLE

DOC = (Path(__file__).parents[2] / "docs" / "backfill.md").read_text(encoding="utf-8")


def test_the_commands_are_understood() -> None:
    (block,) = re.findall(r"```sh\n(.*?)```", DOC, re.DOTALL)
    for line in block.splitlines():
        _, name, *words = shlex.split(line)
        told = get_command(app).commands[name].make_context(name, words).params  # type: ignore[attr-defined]
        assert (told["dataset"], told["chunk"]) == ("simulated_city", "7d")


def test_what_it_names_is_there() -> None:
    assert all(f"{name}`" in DOC for name in (PAGE, TABLE))
    assert all((Path(__file__).parents[2] / "docs" / path).exists() for path in ("feedback.md",))
