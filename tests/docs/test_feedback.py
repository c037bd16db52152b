"""docs/feedback.md: its example is taken in, its commands are understood, its numbers hold."""

import json
import re
import shlex
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml
from typer.main import get_command

from chronotope.cli.main import app
from chronotope.contracts.clock import MAX_CLOCK_SKEW
from chronotope.contracts.strict_json import MAX_DEPTH
from chronotope.feedback.config import FeedbackConfig
from chronotope.feedback.inbox import MAX_DELIVERY_BYTES
from chronotope.feedback.payloads import NO_OBJECT, payloads_to_batch
from chronotope.feedback.population_shift import MIN_HOURS_SPAN_S
from tests.feedback.test_payloads import spec

DOC = (Path(__file__).parents[2] / "docs" / "feedback.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", DOC, re.DOTALL)
    return str(found)


def test_the_example_is_an_event() -> None:
    (row,) = payloads_to_batch([json.loads(block("json"))], spec()).rows.to_pylist()
    assert (row["user_id"], row["item_id"], row["place_id"]) == ("7", "flat white", "north")


def test_the_table_is_understood() -> None:
    feed = spec(feedback=yaml.safe_load(block("yaml"))["feedback"]).feedback
    assert feed is not None
    assert f"newest {feed.reread_rows:,} rows" in DOC
    assert f"at most {FeedbackConfig().batch_rows:,} rows" in DOC


def test_the_commands_are_understood() -> None:
    retraining, quarantine = re.findall(r"```sh\n(.*?)```", DOC, re.DOTALL)
    for line in retraining.splitlines():
        assert understood(shlex.split(line)[1:])["dataset"] == "simulated_city"
    for line in quarantine.splitlines():
        assert understood(shlex.split(line, comments=True)[1:])["dataset"] == "DATASET"
    assert len(quarantine.splitlines()) == 3


def understood(words: list[str]) -> dict[str, Any]:
    """Parameters of a command or of one of a group's."""
    command: Any = get_command(app)
    while hasattr(command, "commands"):
        name, *words = words
        command = command.commands[name]
    parameters: dict[str, Any] = command.make_context(name, words).params
    return parameters


def test_the_numbers_are_those_of_the_defaults() -> None:
    default = FeedbackConfig()
    for words in (
        f"more than {default.rate_limit_rows} in a batch",
        f"more than {default.rate_limit_factor:.0f} times",
        f"{default.min_rows} new events of users with a history",
        f"older than {default.max_age_days:.0f} days",
        f"above {default.hold_psi}",
        f"an index above {default.drift_psi:.2f}".replace("0.", "."),
        f"from {default.min_compared_rows} new events on",
        NO_OBJECT,
        f"more than {MAX_DELIVERY_BYTES >> 20} MiB",
        f"it is nested more than {MAX_DEPTH} levels deep",
    ):
        assert words in DOC, words
    assert MIN_HOURS_SPAN_S == 2 * 24 * 3600
    assert timedelta(minutes=5) == MAX_CLOCK_SKEW  # "five minutes"
