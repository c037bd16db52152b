"""Better than everybody, for everybody, and not by luck."""

from typing import Any

import numpy as np
import pytest

from chronotope.contracts.errors import DataError
from chronotope.registry.gate import (
    GateConfig,
    GroupedTargets,
    NewOnlyComparison,
    accuracy_gap_reasons,
    evaluate_gate,
    exposure_reasons,
    membership_reasons,
)

USERS = np.repeat(np.arange(200), 5)
RNG = np.random.default_rng(3)
CHAMPION = RNG.random(1000)
WEAK = {"popularity": CHAMPION - 0.3}
HALF = {"cold_user": USERS < 40, "warm_user": USERS >= 40}
CONFIG = GateConfig()


def test_a_better_challenger_passes() -> None:
    decision = evaluate_gate(
        CHAMPION + 0.05, CHAMPION, WEAK, user_idx=USERS, slices=HALF, gate_config=CONFIG
    )
    assert decision.passed
    assert decision.reasons == ()
    assert decision.differences["champion"].estimate == pytest.approx(0.05)
    assert decision.differences["popularity"].estimate == pytest.approx(0.35)


def test_the_first_model_needs_only_beat_the_baselines() -> None:
    assert evaluate_gate(
        CHAMPION, None, WEAK, user_idx=USERS, slices=HALF, gate_config=CONFIG
    ).passed
    strong = WEAK | {"markov": CHAMPION + 0.1}
    decision = evaluate_gate(
        CHAMPION, None, strong, user_idx=USERS, slices=HALF, gate_config=CONFIG
    )
    assert not decision.passed
    assert [reason.split(":")[0] for reason in decision.reasons] == ["does not beat markov"]


def test_a_neighbourhood_model_may_be_equalled_but_not_lost_to() -> None:
    equal = WEAK | {"tifu_knn": CHAMPION}
    assert evaluate_gate(
        CHAMPION, None, equal, user_idx=USERS, slices={}, gate_config=CONFIG
    ).passed
    strict = CONFIG.model_copy(update={"may_equal": ()})
    decision = evaluate_gate(CHAMPION, None, equal, user_idx=USERS, slices={}, gate_config=strict)
    assert [reason.split(":")[0] for reason in decision.reasons] == ["does not beat tifu_knn"]
    better = WEAK | {"tifu_knn": CHAMPION + 0.1}
    decision = evaluate_gate(CHAMPION, None, better, user_idx=USERS, slices={}, gate_config=CONFIG)
    assert [reason.split(":")[0] for reason in decision.reasons] == ["loses to tifu_knn"]


def test_an_equal_challenger_is_refused() -> None:
    decision = evaluate_gate(
        CHAMPION, CHAMPION, WEAK, user_idx=USERS, slices=HALF, gate_config=CONFIG
    )
    assert not decision.passed


def test_luck_is_refused() -> None:
    noise = np.repeat(np.random.default_rng(5).normal(0, 0.3, 200), 5)
    lucky = CHAMPION + noise - noise.mean() + 0.001
    decision = evaluate_gate(lucky, CHAMPION, WEAK, user_idx=USERS, slices={}, gate_config=CONFIG)
    assert decision.differences["champion"].estimate == pytest.approx(0.001)
    assert not decision.passed


def test_a_fallen_slice_is_refused() -> None:
    uneven = CHAMPION + np.where(HALF["cold_user"], -0.03, 0.1)
    decision = evaluate_gate(
        uneven, CHAMPION, WEAK, user_idx=USERS, slices=HALF, gate_config=CONFIG
    )
    assert [reason.split(",")[0] for reason in decision.reasons] == [
        "slice cold_user falls by 0.0300"
    ]
    lenient = GateConfig(max_slice_drop=0.04)
    assert evaluate_gate(
        uneven, CHAMPION, WEAK, user_idx=USERS, slices=HALF, gate_config=lenient
    ).passed


def test_a_tiny_slice_is_not_judged() -> None:
    few = {"few": np.arange(1000) < 99}
    uneven = CHAMPION + np.where(few["few"], -0.5, 0.2)
    assert evaluate_gate(
        uneven, CHAMPION, WEAK, user_idx=USERS, slices=few, gate_config=CONFIG
    ).passed
    enough = GateConfig(min_slice_targets=99)
    assert not evaluate_gate(
        uneven, CHAMPION, WEAK, user_idx=USERS, slices=few, gate_config=enough
    ).passed


def test_a_challenger_of_nans_is_refused() -> None:
    broken = np.full(1000, np.nan)
    assert not evaluate_gate(
        broken, CHAMPION, WEAK, user_idx=USERS, slices=HALF, gate_config=CONFIG
    ).passed


def test_other_targets_are_refused() -> None:
    with pytest.raises(DataError):
        evaluate_gate(CHAMPION[:-1], CHAMPION, {}, user_idx=USERS, slices={}, gate_config=CONFIG)


def test_the_champions_own_network_has_to_be_no_worse() -> None:
    noise = np.random.default_rng(7).normal(0, 0.02, 1000)
    other = CHAMPION - 0.002 + noise - noise.mean()
    told: dict[str, Any] = {"user_idx": USERS, "slices": HALF, "gate_config": CONFIG}
    assert not evaluate_gate(other, CHAMPION, WEAK, **told).passed
    assert evaluate_gate(other, CHAMPION, WEAK, **told, non_inferiority_margin=0.01).passed
    strict = evaluate_gate(other, CHAMPION, WEAK, **told, non_inferiority_margin=0.002)
    assert [reason.split(":")[0] for reason in strict.reasons] == [
        "may lose more than 0.002 to champion"
    ]
    fallen = other - np.where(HALF["cold_user"], 0.2, 0.0)
    assert any(
        "cold_user" in r
        for r in evaluate_gate(fallen, CHAMPION, WEAK, **told, non_inferiority_margin=1).reasons
    )
    strong = {"markov": CHAMPION + 0.1}
    assert not evaluate_gate(other, CHAMPION, strong, **told, non_inferiority_margin=1.0).passed


def test_a_loss_among_new_items_beyond_noise_is_refused() -> None:
    is_return = np.arange(1000) % 2 == 0
    champion = np.where(is_return, np.nan, RNG.random(1000))
    better = CHAMPION + 0.05

    def reasons(loss: float, allowed: float = 0.0) -> tuple[str, ...]:
        noise = np.random.default_rng(5).normal(0, 0.05, 1000)
        noise -= noise[~is_return].mean()
        comparison = NewOnlyComparison(champion - loss + noise, champion)
        config = GateConfig(max_new_only_drop=allowed)
        return evaluate_gate(
            better,
            CHAMPION,
            WEAK,
            user_idx=USERS,
            slices={},
            gate_config=config,
            new_only=comparison,
        ).reasons

    assert reasons(0.0) == ()  # within noise
    assert reasons(0.0005) == ()
    assert reasons(0.03)[0].startswith("new items only: loses more than 0 to champion: -0.0300")
    assert reasons(0.03, allowed=0.05) == ()


def test_few_new_items_are_not_compared() -> None:
    champion = np.where(np.arange(1000) < 99, 1.0, np.nan)
    comparison = NewOnlyComparison(champion - 0.5, champion)
    assert evaluate_gate(
        CHAMPION + 0.05,
        CHAMPION,
        WEAK,
        user_idx=USERS,
        slices={},
        gate_config=CONFIG,
        new_only=comparison,
    ).passed


def test_a_model_that_tells_who_was_in_its_training_is_refused() -> None:
    low_ends = {"loss threshold": 0.7, "likelihood ratio": 0.93}
    bounded = CONFIG.model_copy(update={"max_membership_auc": 0.9})
    (reason,) = membership_reasons(low_ends, bounded)
    assert "likelihood ratio" in reason
    assert "0.930" in reason
    assert membership_reasons(low_ends, CONFIG) == ()
    assert membership_reasons({}, bounded) == ()


def test_a_wider_gap_between_groups_is_refused_beyond_noise_alone() -> None:
    grouped = GroupedTargets(USERS, {"age": USERS % 2})
    worse_for_one = CHAMPION - 0.2 * (USERS % 2)
    (reason,) = accuracy_gap_reasons(worse_for_one, CHAMPION, grouped, CONFIG)
    assert "groups of age" in reason
    assert accuracy_gap_reasons(CHAMPION - 0.2, CHAMPION, grouped, CONFIG) == ()
    noisy = CHAMPION + 0.05 * RNG.standard_normal(len(CHAMPION))
    assert accuracy_gap_reasons(noisy, CHAMPION, grouped, CONFIG) == ()
    one_group = GroupedTargets(USERS, {"age": np.where(USERS % 2 == 1, -1, 0)})
    assert accuracy_gap_reasons(worse_for_one, CHAMPION, one_group, CONFIG) == ()


def test_less_exposure_of_rare_items_is_refused_beyond_the_bound() -> None:
    shares = RNG.random(len(USERS))
    (reason,) = exposure_reasons(shares - 0.2, shares, USERS, CONFIG)
    assert "most popular fifth" in reason
    assert exposure_reasons(shares - 0.05, shares, USERS, CONFIG) == ()
    assert exposure_reasons(shares + 0.5, shares, USERS, CONFIG) == ()
