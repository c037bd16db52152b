"""A pipe in the inbox neither stops the flow nor is forgotten: it is set aside and shown."""

import os
from pathlib import Path

import pytest

from chronotope.feedback.intake import inbox_dir
from flows import without_heartbeat
from flows.collect_feedback import collect_feedback, set_aside_markdown
from flows.ingest_events import IngestSettings
from tests.flows.feedback_town import YAML, Town

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect")]


def test_the_flow_goes_on_and_says_what_it_set_aside(tmp_path: Path) -> None:
    town = Town(tmp_path)
    town.spec.write_text(YAML.format(folder=tmp_path))
    folder = inbox_dir(town.workspace, "town")
    folder.mkdir(parents=True)
    os.mkfifo(folder / "pi`pe.jsonl")
    with without_heartbeat():
        found = collect_feedback(str(town.spec), ingestion=IngestSettings(root=tmp_path))
    assert found.intake.set_aside == {"pi`pe.jsonl": "it is a named pipe, no regular file"}
    shown = set_aside_markdown(found.intake.set_aside)
    assert shown.endswith("- `pi pe.jsonl`: it is a named pipe, no regular file")
    assert set_aside_markdown({}) == ""
