"""From lists and clicks in the log to numbers whose truth is known."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chronotope.experiments.experiment import Experiment
from chronotope.experiments.experiment_report import (
    ExperimentReport,
    OutcomeLimits,
    report_experiment,
)
from chronotope.experiments.exposures import Exposure, attribute_hits, read_exposures
from chronotope.lake import Interaction, InteractionLog

START = datetime(2020, 9, 13, tzinfo=UTC)
FEW = OutcomeLimits(min_users=2)
ARMS = [{"name": "old", "share": 0.5}, {"name": "new", "share": 0.5, "model": "2"}]
SHADOW = {"name": "unseen", "share": 1, "model": "3", "mode": "shadow"}
DESIGN = Experiment.model_validate({"name": "one", "arms": [*ARMS, SHADOW]})


@pytest.fixture
def log(tmp_path: Path) -> Iterator[InteractionLog]:
    opened = InteractionLog(tmp_path / "log.db")
    yield opened
    opened.close()


def shown(answer: str, user: str, items: str, hour: float = 0, **more: Any) -> Interaction:
    told = {"answer_id": answer, "user_id": user, "items": list(items), "version": "1"}
    told |= {"shown_at": (START + timedelta(hours=hour)).isoformat(), "policy": "greedy"}
    return Interaction(key=answer, kind="impression", payload={**told, **more})


def did(user: str, item: str, hour: float = 0, **more: Any) -> Interaction:
    at = (START + timedelta(hours=hour)).isoformat()
    told = {"user_id": user, "item_id": item, "occurred_at": at, **more}
    return Interaction(key=f"{user} {item} {at} {more}", kind="event", payload=told)


def credited(log: InteractionLog, *records: Interaction, by_answer: bool = True) -> list[list[int]]:
    log.append(records)
    lists = read_exposures(log, None)
    hits = attribute_hits(lists, log, window_s=3600, by_answer=by_answer)
    return [one.astype(int).tolist() for one in hits]


TWICE = (shown("x", "u", "ab"), shown("y", "u", "bc", 0.5))


@pytest.mark.parametrize(
    ("event", "wanted"),
    [
        (did("u", "b", 0.6), [[0, 0], [1, 0]]),  # the latest list that showed it
        (did("u", "b", 0.4), [[0, 1], [0, 0]]),  # not the later one
        (did("u", "a", 0.9), [[1, 0], [0, 0]]),  # the later one did not show it
        (did("u", "a", 1.1), [[0, 0], [0, 0]]),  # too late
        (did("u", "a", 1.1, answer_id="x"), [[1, 0], [0, 0]]),  # but it says so
        (did("u", "b", 0.6, answer_id="x"), [[0, 1], [0, 0]]),
        (did("u", "b", 0.6, answer_id="gone"), [[0, 0], [0, 0]]),
        (did("u", "a", 0.6, answer_id="y"), [[0, 0], [0, 0]]),  # it was not there
        (did("v", "b", 0.6), [[0, 0], [0, 0]]),
        (did("u", "b", -0.0002), [[0, 1], [0, 0]]),  # the moment was rounded up
    ],
)
def test_an_event_counts_for_one_list(
    log: InteractionLog, event: Interaction, wanted: list[list[int]]
) -> None:
    assert credited(log, *TWICE, event, event) == wanted


def test_of_shadows_nobody_names_an_answer(log: InteractionLog) -> None:
    told = did("u", "b", 0.6, answer_id="gone")
    assert credited(log, *TWICE, told, by_answer=False) == [[0, 0], [1, 0]]


def test_lists_of_nobody_and_of_other_experiments_are_not_read(log: InteractionLog) -> None:
    nobody = shown("z", "u", "a")
    nobody.payload["user_id"] = None
    log.append([*TWICE, nobody, shown("w", "u", "a", experiment="one", arm="old")])
    assert [one.answer_id for one in read_exposures(log, None)] == ["x", "y", "w"]
    assert [one.answer_id for one in read_exposures(log, "one")] == ["w"]


RATES = {"old": 0.2, "new": 0.4}


def run(log: InteractionLog, users: int, *, lists: int = 3, share: float = 1.0) -> None:
    """Every user is shown lists of their arm and hits a first item as often as RATES say."""
    rng, records = np.random.default_rng(0), list[Interaction]()
    for n in range(users):
        user = f"user {n}"
        arm = DESIGN.arm_of(user).name
        if arm == "new" and rng.random() > share:
            continue
        for m in range(lists):
            answer = f"{n}-{m}"
            told = {"experiment": "one", "arm": arm, "version": {"old": "1", "new": "2"}[arm]}
            records.append(shown(answer, user, "abc", 30 * m, **told))
            seen = {"experiment": "one", "arm": "unseen", "version": "3", "shadow_of": answer}
            records.append(shown(f"{answer}-unseen", user, "bad", 30 * m, **seen))
            if rng.random() < RATES[arm]:
                records.append(did(user, "a", 30 * m + 1, answer_id=answer))
    log.append(records)


def test_the_better_arm_is_found_with_an_interval_that_holds_the_truth(log: InteractionLog) -> None:
    run(log, 1000)
    told = report_experiment(log, DESIGN, [], OutcomeLimits())
    old, new = told.arms
    assert old.rate is not None
    assert new.uplift is not None
    assert old.rate.low <= 0.2 <= old.rate.high
    assert new.uplift.low <= 0.2 <= new.uplift.high
    assert (old.verdict, new.verdict) == ("control", "better, anytime-valid")
    assert (old.versions, new.versions) == (("1",), ("2",))
    assert old.n_users + new.n_users == 1000
    assert told.mismatch > 0.001
    assert new.n_lists == 3 * new.n_users


def test_too_few_users_get_no_verdict(log: InteractionLog) -> None:
    run(log, 100)
    told = report_experiment(log, DESIGN, [], OutcomeLimits(min_users=100))
    assert [arm.verdict for arm in told.arms] == ["not enough users"] * 2
    assert [arm.rate for arm in told.arms] == [None, None]
    assert told.shadows[0].difference is not None  # it answered for all hundred


def test_a_small_arm_keeps_the_others_from_no_verdict(log: InteractionLog) -> None:
    arms = [{"name": n, "share": s} for n, s in (("old", 0.5), ("new", 0.49), ("tiny", 0.01))]
    design = Experiment.model_validate({"name": "one", "arms": arms})
    records = []
    for n in range(600):
        arm = design.arm_of(f"u{n}").name
        records.append(shown(str(n), f"u{n}", "a", experiment="one", arm=arm))
        records += [did(f"u{n}", "a", 0.5)] * (arm == "new")
    log.append(records)
    told = report_experiment(log, design, [], OutcomeLimits()).arms
    assert [arm.verdict.split(",")[0] for arm in told] == ["control", "better", "not enough users"]
    few = report_experiment(log, design, [], OutcomeLimits(min_users=299)).arms
    assert sum(arm.rate is not None for arm in few) == 1
    assert [arm.uplift for arm in few] == [None] * 3


def test_users_that_went_missing_are_noticed(log: InteractionLog) -> None:
    run(log, 1000, share=0.6)
    told = report_experiment(log, DESIGN, [], OutcomeLimits())
    assert told.mismatch < 0.001
    assert told.arms[1].verdict.startswith("sample ratio mismatch")


def test_lists_of_a_foreign_arm_are_left_out(log: InteractionLog) -> None:
    user = next(f"u{n}" for n in range(99) if DESIGN.arm_of(f"u{n}").name == "old")
    log.append([shown("x", user, "a", experiment="one", arm="new")])
    told = report_experiment(log, DESIGN, [], FEW)
    assert (told.n_misplaced, [arm.n_lists for arm in told.arms]) == (1, [0, 0])


def test_shadows_are_compared_with_what_was_shown_instead(log: InteractionLog) -> None:
    run(log, 300)
    (shadow,) = report_experiment(log, DESIGN, [], OutcomeLimits()).shadows
    assert (shadow.overlap, shadow.same_first) == (pytest.approx(2 / 3), 0)
    assert shadow.hits == shadow.hits_shown > 0  # both lists hold the only item ever hit
    assert shadow.versions == ("3",)


def test_an_empty_log_says_so(log: InteractionLog) -> None:
    told = report_experiment(log, DESIGN, [], FEW)
    assert [arm.verdict for arm in told.arms] == ["not enough users"] * 2
    assert (told.policies, told.shadows[0].n_lists, told.mismatch) == ((), 0, 1.0)


# --- off-policy ---------------------------------------------------------------------------

APPEAL = {"a": 0.1, "b": 0.5, "c": 0.3, "d": 0.2}
EPSILON = 0.5


class Fixed:
    """A version that always answers the same."""

    version, trained_until_s = "9", 0

    def __init__(self, items: str) -> None:
        self.items = items

    def listed(self, user_id: str, at: str, question: dict[str, Any]) -> list[tuple[str, float]]:
        assert question == {"k": 2}
        return [(item, 0.3) for item in self.items]


def explore(log: InteractionLog, users: int = 300) -> None:
    """Lists of two, drawn with probability EPSILON, else a and c; hits are as APPEAL says."""
    rng, records = np.random.default_rng(1), list[Interaction]()
    for n in range(users):
        for m in range(4):
            drawn = rng.random() < EPSILON
            items = "".join(rng.permutation(list(APPEAL))[:2]) if drawn else "ac"
            best = [item == other for item, other in zip(items, "ac", strict=True)]
            chance = [(1 - EPSILON) * same + EPSILON / 4 for same in best]
            more = {"propensities": chance, "probabilities": [0.3, 0.2], "request": {"k": 2}}
            records.append(shown(f"{n}-{m}", f"u{n}", items, 30 * m, **more))
            hit = [item for item in items if rng.random() < APPEAL[item]]
            records += [did(f"u{n}", item, 30 * m + 1) for item in hit]
    log.append(records)


def judged(log: InteractionLog, items: str, **limits: Any) -> ExperimentReport:
    return report_experiment(log, None, [lambda: Fixed(items)], OutcomeLimits(**limits))


@pytest.mark.parametrize(
    ("items", "verdict"),
    [("bd", "better"), ("da", "worse"), ("ac", "worse"), ("cd", "no significant difference")],
)
def test_what_a_version_would_be_worth(log: InteractionLog, items: str, verdict: str) -> None:
    explore(log)
    (policy,) = judged(log, items).policies
    found = policy.estimate
    assert found is not None
    truth = APPEAL[items[0]] + APPEAL[items[1]]
    for interval in (found.ips, found.snips, found.dr):
        assert interval.low <= truth <= interval.high
    assert found.mean_weight == pytest.approx(1, abs=0.12)
    assert (found.n_lists, found.n_users) == (1200, 300)
    assert verdict in policy.verdict


def test_what_was_never_drawn_cannot_be_judged(log: InteractionLog) -> None:
    explore(log)
    (policy,) = judged(log, "zy").policies
    assert policy.estimate is not None
    assert policy.estimate.mean_weight == 0
    assert "never drawn" in policy.verdict


def test_lists_that_a_version_may_have_learned_from_are_left_out(log: InteractionLog) -> None:
    explore(log)
    late = Fixed("bd")
    late.trained_until_s = int((START + timedelta(hours=45)).timestamp())
    (policy,) = report_experiment(log, None, [lambda: late], OutcomeLimits()).policies
    assert policy.n_known == 600
    assert policy.estimate is not None
    assert policy.estimate.n_lists == 600
    (few,) = report_experiment(log, None, [lambda: late], OutcomeLimits(min_users=301)).policies
    assert (few.estimate, few.verdict) == (None, "not enough users")


def test_clipping_is_told(log: InteractionLog) -> None:
    explore(log)
    (policy,) = judged(log, "bd", clip=2.0).policies
    assert policy.estimate is not None
    assert policy.estimate.max_weight == 2
    assert 0 < policy.estimate.clipped < 0.5


def test_without_chance_no_version_is_opened(log: InteractionLog) -> None:
    log.append([shown("x", "u", "ab", propensities=[1, 1], probabilities=[0.5, 0.1])])
    assert judged(log, "ab").policies == ()  # Fixed would have refused the question


def test_exploring_is_seen_by_the_propensities() -> None:
    def explores(p: list[float], q: list[float]) -> bool:
        told = tuple(map(str, range(len(p))))
        return Exposure("x", "u", "", 0.0, told, tuple(q), tuple(p), "1").explores

    assert explores([0.5, 0.1], [0.3, 0.2])
    assert not explores([1.0, 1.0], [0.3, 0.2])
    assert not explores([0.5, 0.0], [0.3, 0.2])
    assert not explores([], [])
    assert not explores([0.5], [])
