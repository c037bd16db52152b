"""docs/monitoring.md: its commands are understood and its numbers are the defaults."""

import re
import shlex
from pathlib import Path

from typer.main import get_command

from chronotope.cli.main import app
from chronotope.monitoring.config import MonitorConfig

DOC = (Path(__file__).parents[2] / "docs" / "monitoring.md").read_text(encoding="utf-8")


def test_the_commands_are_understood() -> None:
    told = [shlex.split(of) for of in re.findall(r"^chronotope (.*)$", DOC, re.MULTILINE)]
    assert len(told) == 2
    for name, *words in told:
        given = get_command(app).commands[name].make_context(name, words).params  # type: ignore[attr-defined]
        assert given["dataset"] == "simulated_city"


def test_the_numbers_are_those_of_the_defaults() -> None:
    default = MonitorConfig()
    n_windows = default.reference_windows + default.min_history + 1
    for words in (
        f"A window is {default.window_days} days",
        f"the {default.reference_windows} windows before it",
        f"{default.n_bins} commonest values",
        f"fewer than {default.min_history} earlier comparisons ({n_windows} windows",
        f"fewer than {default.min_rows} events are not compared",
        f"more than {default.max_age_days:.0f} days is flagged",
        f"within {default.horizon_h:.0f} hours",
        f"`quantile` {default.quantile:.2f}".replace("0.", "."),
    ):
        assert words in DOC, words


def test_what_is_linked_is_there() -> None:
    linked = re.findall(r"\]\((?!http)([^)#]+)\)", DOC)
    assert linked
    assert all((Path(__file__).parents[2] / "docs" / path).exists() for path in linked)
