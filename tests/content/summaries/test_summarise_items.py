"""Summaries of a lake's long texts: once each, whatever an endpoint replies."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from chronotope.content.summaries import chat_endpoint
from chronotope.content.summaries.stored_summaries import (
    StoredSummary,
    read_summaries,
    read_summary,
)
from chronotope.content.summaries.summarise_items import summarise_items
from chronotope.datasets.content_spec import SummarySpec
from chronotope.lake import Lake

if TYPE_CHECKING:
    from tests.content.summaries.conftest import ChatServer

LONG = "Anna Berg roasts coffee in Bergen. The roast is dark. It smells of bread and smoke. " * 2
SPEC = SummarySpec(columns=("text",), max_chars=60)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_endpoint, "_FIRST_PAUSE_S", 0.01)


def items(**texts: str | None) -> pa.Table:
    return pa.table(
        {
            "item_id": list(texts),
            "title": list(texts),
            "text": pa.array(texts.values(), pa.string()),
        }
    )


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    shop = Lake(tmp_path / "lake")
    shop.upsert_items(items(long=LONG, short="Tea.", empty=None, twin=LONG))
    return shop


def test_long_texts_get_sentences_of_their_own_once(lake: Lake) -> None:
    report = summarise_items(lake, SPEC)
    assert (report.n_items, report.n_summarised, report.n_short) == (4, 2, 2)
    summaries = read_summaries(lake)
    assert set(summaries) == {"long", "twin"}
    assert len(summaries["long"]) <= 60
    assert summaries["long"].split(". ")[0] in LONG
    version = lake.version("item_summaries")
    again = summarise_items(lake, SPEC)
    assert (again.n_summarised, again.n_unchanged) == (0, 2)
    assert lake.version("item_summaries") == version


def test_changed_texts_and_another_length_are_summarised_again(lake: Lake) -> None:
    summarise_items(lake, SPEC)
    lake.upsert_items(items(twin=f"New. {LONG}"))
    assert summarise_items(lake, SPEC).n_summarised == 1
    assert summarise_items(lake, SPEC.model_copy(update={"max_chars": 80})).n_summarised == 2


def test_a_text_that_became_short_has_no_summary_any_more(lake: Lake) -> None:
    summarise_items(lake, SPEC)
    assert read_summary(lake, "twin") == StoredSummary(read_summaries(lake)["twin"], "extractive")
    assert read_summary(lake, "short") is None
    lake.upsert_items(items(twin="Short now."))
    report = summarise_items(lake, SPEC)
    assert (report.n_summarised, report.n_unchanged, report.n_short) == (0, 1, 3)
    assert set(read_summaries(lake)) == {"long"}
    assert read_summary(lake, "twin") is None
    version = lake.version("item_summaries")
    summarise_items(lake, SPEC)
    assert lake.version("item_summaries") == version
    lake.upsert_items(items(twin=LONG))
    assert summarise_items(lake, SPEC).n_summarised == 1
    assert read_summary(lake, "twin") is not None


def test_an_endpoint_is_asked_once_for_equal_texts_and_not_again(
    lake: Lake, chat_server: "ChatServer"
) -> None:
    spec = SPEC.model_copy(update={"endpoint": chat_server.settings()})
    report = summarise_items(lake, spec)
    assert (report.n_summarised, report.n_generated) == (2, 2)
    assert read_summaries(lake)["long"] == "Anna Berg roasts coffee."
    assert len(chat_server.requests()) == 1
    (row, _) = lake.read("item_summaries").to_pylist()
    assert json.loads(row["attributes"]) == {"roast": "dark"}
    assert row["writer"].startswith("toy@")
    assert summarise_items(lake, spec).n_unchanged == 2
    assert len(chat_server.requests()) == 1


def test_invented_facts_leave_an_extractive_summary_with_the_reason(
    lake: Lake, chat_server: "ChatServer"
) -> None:
    lake.upsert_items(items(long=f"INVENT. {LONG}", twin="Tea."))
    spec = SPEC.model_copy(update={"endpoint": chat_server.settings()})
    assert summarise_items(lake, spec).n_generated == 0
    (row,) = [row for row in lake.read("item_summaries").to_pylist() if row["item_id"] == "long"]
    assert "Paris" not in row["summary"]
    assert "not in the text: 900, Paris" in row["reason"]
    assert summarise_items(lake, spec).n_unchanged == 1  # it is not asked again


def test_without_a_reply_the_run_goes_on_and_the_next_one_asks_again(
    lake: Lake, chat_server: "ChatServer"
) -> None:
    many = {f"i{idx}": f"{idx} {LONG}" for idx in range(6)}
    lake.upsert_items(items(**many))
    dead = chat_server.settings(base_url="http://127.0.0.1:9/v1", max_retries=0)
    report = summarise_items(lake, SPEC.model_copy(update={"endpoint": dead}))
    assert (report.n_summarised, report.n_generated) == (8, 0)
    assert set(read_summaries(lake)) == {"long", "twin", *many}
    alive = SPEC.model_copy(update={"endpoint": chat_server.settings(max_items=3)})
    assert summarise_items(lake, alive).n_generated >= 3
    assert len(chat_server.requests()) == 3  # the bound of a run
    while summarise_items(lake, alive).n_generated:
        pass
    assert len(chat_server.requests()) == 7  # eight items, two of them alike
