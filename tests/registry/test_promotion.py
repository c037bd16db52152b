"""One champion, whoever races and whatever is killed when."""

import multiprocessing
import os
import shutil
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from chronotope.audit import AuditTrail
from chronotope.contracts.errors import PromotionConflict, StoreError
from chronotope.registry.mlflow_store import MlflowStore, open_store
from chronotope.registry.model_versions import download_version, register_version
from chronotope.registry.promotion import (
    current_champion,
    promote,
    promotion_history,
    recover_promotion,
    rollback,
    set_challenger,
)
from chronotope.runtime.store_urls import MLFLOW_URL, STATE_URL
from chronotope.runtime.workspace import audit_folder
from tests.postgres import postgres

SPAWN = multiprocessing.get_context("spawn")


def _alias(store: MlflowStore) -> str | None:
    found = store.client.get_registered_model("city").aliases.get("champion")
    return None if found is None else str(found)


def _promote(store: MlflowStore, version: str, expected: str | None, key: str = "") -> None:
    promote(
        store,
        "city",
        version,
        expected_champion=expected,
        key=key or f"{expected}-{version}",
        reason="test",
    )


def test_promotion_sets_journal_and_alias(city: MlflowStore) -> None:
    assert current_champion(city, "city") is None
    set_challenger(city, "city", "2")
    _promote(city, "2", None)
    assert current_champion(city, "city") == _alias(city) == "2"
    assert "challenger" not in city.client.get_registered_model("city").aliases
    assert [(e.version, e.previous, e.state) for e in promotion_history(city, "city")] == [
        ("2", None, "committed")
    ]


def test_a_stale_expectation_is_a_conflict(city: MlflowStore) -> None:
    _promote(city, "1", None)
    with pytest.raises(PromotionConflict):
        _promote(city, "2", None)
    assert current_champion(city, "city") == "1"


def test_the_same_key_promotes_once(city: MlflowStore) -> None:
    _promote(city, "1", None, key="a")
    _promote(city, "2", "1", key="b")
    _promote(city, "1", None, key="a")
    assert current_champion(city, "city") == _alias(city) == "2"
    assert len(promotion_history(city, "city")) == 2
    with pytest.raises(PromotionConflict, match="another version"):
        _promote(city, "3", "2", key="a")


def test_the_champion_is_not_promoted_again(city: MlflowStore) -> None:
    _promote(city, "1", None)
    with pytest.raises(StoreError, match="already"):
        _promote(city, "1", "1")


def test_a_missing_version_leaves_the_champion(city: MlflowStore) -> None:
    _promote(city, "1", None)
    with pytest.raises(StoreError, match="cannot be promoted"):
        _promote(city, "99", "1")
    assert current_champion(city, "city") == _alias(city) == "1"
    _promote(city, "2", "1")


def test_missing_files_are_refused(city: MlflowStore) -> None:
    shutil.rmtree(download_version(city, "city", "1").parent)
    with pytest.raises(StoreError, match="is missing"):
        _promote(city, "1", None)
    assert [e.state for e in promotion_history(city, "city")] == ["aborted"]


def test_rollback_walks_back_step_by_step(city: MlflowStore) -> None:
    for version, before in (("1", None), ("2", "1"), ("3", "2")):
        _promote(city, version, before)
    assert rollback(city, "city", "worse").version == "2"
    with pytest.raises(PromotionConflict):
        rollback(city, "city", "worse", expected_champion="3")
    rollback(city, "city", "worse still")
    assert current_champion(city, "city") == _alias(city) == "1"
    with pytest.raises(StoreError, match="no earlier champion"):
        rollback(city, "city", "too far")


def test_each_promotion_and_rollback_stands_once_in_the_audit_trail(city: MlflowStore) -> None:
    _promote(city, "1", None, key="a")
    _promote(city, "2", "1")
    _promote(city, "1", None, key="a")  # again: nothing happens
    rollback(city, "city", "worse")
    with pytest.raises(StoreError):
        _promote(city, "99", "1")
    trail = AuditTrail(audit_folder(city.root))
    acts = [(entry.action, entry.detail["version"]) for entry in trail.entries()]
    assert acts == [("promote", "1"), ("promote", "2"), ("rollback", "1")]
    assert trail.entries()[-1].detail["reason"] == "worse"
    assert trail.verify().problem == ""


def test_the_alias_follows_the_journal(city: MlflowStore) -> None:
    _promote(city, "1", None)
    city.client.set_registered_model_alias("city", "champion", "3")
    assert current_champion(city, "city") == _alias(city) == "1"


def _promote_and_die(root: Path, step: str) -> None:
    def die(reached: str) -> None:
        if reached == step:
            os._exit(9)

    promote(
        open_store(root),
        "city",
        "2",
        expected_champion="1",
        key="k",
        reason="test",
        on_step=die,
    )


@pytest.mark.parametrize("step", ["intent", "verify", "commit", "follow"])
def test_a_kill_after_any_step_leaves_one_champion(city: MlflowStore, step: str) -> None:
    _promote(city, "1", None)
    process = SPAWN.Process(target=_promote_and_die, args=(city.root, step))
    process.start()
    process.join(60)
    assert process.exitcode == 9
    assert _alias(city) in {"1", "2"}
    recover_promotion(city, "city")
    assert current_champion(city, "city") == _alias(city) == "2"
    _promote(city, "2", "1", key="k")  # the killed promoter tries again
    assert [e.state for e in promotion_history(city, "city")] == ["committed", "committed"]


def test_a_killed_promotion_of_lost_files_is_aborted(city: MlflowStore) -> None:
    _promote(city, "1", None)
    shutil.copytree(download_version(city, "city", "1"), city.root / "other")
    other = city.client.create_model_version("city", (city.root / "other").as_uri())
    with pytest.raises(KeyboardInterrupt):
        promote(
            city,
            "city",
            str(other.version),
            expected_champion="1",
            key="k",
            reason="test",
            on_step=_interrupt,
        )
    shutil.rmtree(city.root / "other")
    assert current_champion(city, "city") == _alias(city) == "1"


def _interrupt(_: str) -> None:
    raise KeyboardInterrupt


N_ROUNDS = 50
OWN = (("2", "3"), ("4", "5"))
"""Versions of each racer: one of the two is not the champion, whoever won last."""


def _race(root: Path, lane: int, barrier: Barrier, pipe: Connection) -> None:
    """Meet the other one behind a barrier, again and again, about the same champion."""
    store = open_store(root)
    for number in range(N_ROUNDS):
        expected = current_champion(store, "city")
        version = next(own for own in OWN[lane] if own != expected)
        barrier.wait(60)
        try:
            _promote(store, version, expected, key=f"{number}-{lane}")
            pipe.send(("won", expected, version))
        except PromotionConflict:
            pipe.send(("lost", expected, version))
        barrier.wait(60)


def _raced(store: MlflowStore) -> list[str]:
    """Two processes race; returns the winner of each round, who is one."""
    barrier, pipes = SPAWN.Barrier(2), [SPAWN.Pipe() for _ in range(2)]
    racers = [
        SPAWN.Process(target=_race, args=(store.root, lane, barrier, pipe[1]))
        for lane, pipe in enumerate(pipes)
    ]
    for racer in racers:
        racer.start()
    winners: list[str] = []
    for number in range(N_ROUNDS):
        told = [_received(pipe[0], number) for pipe in pipes]
        assert sorted(outcome for outcome, _, _ in told) == ["lost", "won"], f"round {number}"
        assert {expected for _, expected, _ in told} == {winners[-1] if winners else "1"}
        winners += [version for outcome, _, version in told if outcome == "won"]
    for racer in racers:
        racer.join(60)
        assert racer.exitcode == 0
    return winners


def _received(end: Connection, number: int) -> tuple[str, str, str]:
    assert end.poll(120), f"round {number} never ended"
    told: tuple[str, str, str] = end.recv()
    return told


def _assert_one_each(store: MlflowStore, winners: list[str]) -> None:
    lines = [(e.previous, e.version, e.state) for e in promotion_history(store, "city")]
    reigns = ["1", *winners]
    earlier = [None, *reigns]
    wanted = [(*pair, "committed") for pair in zip(earlier, reigns, strict=False)]
    assert lines == wanted
    assert current_champion(store, "city") == _alias(store) == winners[-1]


def test_of_two_promoters_one_wins_fifty_times(city: MlflowStore) -> None:
    _promote(city, "1", None)
    _assert_one_each(city, _raced(city))


@pytest.mark.slow
def test_of_two_promoters_one_wins_on_postgres(
    tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with postgres() as server:
        monkeypatch.setenv(MLFLOW_URL, server.url("mlflow"))
        monkeypatch.setenv(STATE_URL, server.url("state"))
        store = open_store(tmp_path / "mlruns")
        with store.run("training", "fit") as tracker:
            for _ in range(5):
                register_version(
                    store, name="city", bundle_dir=bundle, run_id=tracker.run_id, tags={}
                )
        _promote(store, "1", None)
        _assert_one_each(store, _raced(store))
        told = "SELECT version FROM registered_model_aliases WHERE alias = 'champion'"
        assert [(int(current_champion(store, "city") or 0),)] == server.rows("mlflow", told)
        assert not (store.root / "promotions.db").exists()
