"""The scoring flow: its result and artifacts, and the events that start it."""

from pathlib import Path
from typing import Any

import pytest

from chronotope.contracts.errors import StoreError
from chronotope.lake import Lake
from chronotope.runtime.workspace import Workspace
from chronotope.scoring.config import ScoringProgress
from flows import change_champion, without_heartbeat
from flows.change_champion import PROMOTED, ChampionSettings, promote_model
from flows.score_users import progress_shown_to, score_users, scoring_markdown
from tests.flows.artifacts import shown_of
from tests.inference.hand_made import fill_lake, register_twice
from tests.scoring.crowd import config

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect")]


def test_the_flow_scores_all_users_and_shows_the_counts(tmp_path: Path) -> None:
    fill_lake(tmp_path)
    register_twice(tmp_path)
    reports: list[ScoringProgress] = []
    with without_heartbeat(), progress_shown_to(reports.append):
        result = score_users("city", config(tmp_path))
        again = score_users("city", config(tmp_path))
    assert (result.n_scored, result.table_version, result.model_version) == (3, 0, "1")
    assert (again.n_scored, again.n_unchanged, again.table_version) == (0, 3, None)
    assert Lake(Workspace(tmp_path).lake("city")).version("predictions") == 0
    assert [report.n_done for report in reports[:2]] == [0, 3]
    keys = {"predictions-city", "scoring-city"}
    assert shown_of(keys) == keys
    assert scoring_markdown(again).startswith("The table is unchanged: model version 1 as of ")
    assert "Version 0 of the table `predictions`" in scoring_markdown(result)
    assert "| users scored | 3 |" in scoring_markdown(result)


def test_without_a_champion_the_reason_is_told(tmp_path: Path) -> None:
    fill_lake(tmp_path)
    with without_heartbeat(), pytest.raises(StoreError, match="no champion yet"):
        score_users("city", config(tmp_path))


def test_a_promotion_by_hand_starts_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    emitted: list[tuple[Any, ...]] = []
    monkeypatch.setattr(change_champion, "emit_promoted", lambda *told: emitted.append(told))
    fill_lake(tmp_path)
    register_twice(tmp_path)
    with without_heartbeat():
        dry = ChampionSettings(root=tmp_path, dry_run=True)
        promote_model("city", "2", "because", dry)
        assert emitted == []
        promote_model("city", "2", "because", ChampionSettings(root=tmp_path))
    assert emitted == [("city", "2")]
    assert PROMOTED == "champion.promoted"
