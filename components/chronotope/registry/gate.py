"""Statistical gate of a promotion: paired tests and slice bounds of the challenger."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from chronotope.contracts.event_log import Float64, Int64
from chronotope.metrics import PairedDifference, paired_difference
from chronotope.metrics.group_gap import gap_growth

CHAMPION_NAME = "champion"


class GateConfig(BaseModel):
    """Bounds that a challenger must meet to be promoted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_p_value: float = Field(0.05, gt=0, lt=1, description="Maximum p-value of the paired test")
    min_gain: float = Field(0.0, ge=0, description="Minimum mean gain over champion and baselines")
    max_slice_drop: float = Field(
        0.02, ge=0, description="Maximum drop of a slice's mean metric below the champion's"
    )
    max_new_only_drop: float = Field(
        0.0,
        ge=0,
        description="Maximum drop of NDCG@10 among items that are new to the user below the "
        "champion's: refused if the whole confidence interval lies beyond it",
    )
    max_membership_auc: float = Field(
        1.0,
        ge=0.5,
        le=1.0,
        description="Maximum AUC of a membership attack: refused if the whole confidence interval "
        "lies above it; 1, or without an audit: nothing is refused",
    )
    max_accuracy_gap_growth: float = Field(
        0.05,
        ge=0,
        description="Maximum growth of the largest difference of NDCG@10 between groups of users "
        "over the champion's: refused if the whole confidence interval lies above it",
    )
    max_exposure_gap_growth: float = Field(
        0.1,
        ge=0,
        description="Maximum fall of the exposure of items outside the most popular fifth below "
        "the champion's: refused if the whole confidence interval lies beyond it",
    )
    may_equal: tuple[str, ...] = Field(
        ("tifu_knn", "up_cf"),
        description="Baselines that the challenger need not beat, but may not lose to: refused if "
        "the whole confidence interval of the difference lies below 0",
    )
    min_slice_targets: int = Field(
        100, ge=1, description="Minimum number of targets of a slice; smaller ones are skipped"
    )
    n_resamples: int = Field(1000, ge=100, description="Number of resamples of the paired test")
    seed: int = Field(0, ge=0, description="Random seed of the resampling")


@dataclass(frozen=True, slots=True)
class NewOnlyComparison:
    """Metric of each target among items that are new to its user; NaN for a return.

    Attributes:
        challenger: Of the challenger, such as NDCG@10, shape (n_targets,).
        champion: Of the champion, shape (n_targets,).
    """

    challenger: Float64
    champion: Float64


@dataclass(frozen=True, slots=True)
class GateDecision:
    """Outcome of the gate.

    Attributes:
        passed: Whether the challenger may be promoted.
        reasons: Violated bounds, one sentence each; empty if it passed.
        differences: Challenger minus each reference model, by name.
    """

    passed: bool
    reasons: tuple[str, ...]
    differences: dict[str, PairedDifference]


def evaluate_gate(
    challenger: Float64,
    champion: Float64 | None,
    baselines: Mapping[str, Float64],
    *,
    user_idx: npt.NDArray[np.integer],
    slices: Mapping[str, npt.NDArray[np.bool_]],
    gate_config: GateConfig,
    non_inferiority_margin: float | None = None,
    new_only: NewOnlyComparison | None = None,
) -> GateDecision:
    """Compare the challenger with champion and baselines on the same targets.

    The challenger must be significantly better than each of them on average (paired test over
    users), or not significantly worse than those of ``gate_config.may_equal``. No slice may fall
    below the champion's by more than the bound, and the ranking of new items alone may not lose
    against the champion's beyond noise. A challenger that is a recompression of the champion's own
    network cannot be better, so it must be non-inferior: the confidence interval of its difference
    lies above minus ``non_inferiority_margin``.

    Args:
        challenger: Metric of the challenger per target, such as NDCG@10, shape (n_targets,).
        champion: Metric of the champion on the same targets; None if there is no champion yet.
        baselines: Metric of each baseline on the same targets, by name.
        user_idx: User of each target, shape (n_targets,).
        slices: Masks over the targets by name, shape (n_targets,) each.
        gate_config: Bounds.
        non_inferiority_margin: Largest allowed loss of a recompressed champion; None if the
            challenger is another network.
        new_only: Challenger and champion among items that are new to the user; None skips it.

    Raises:
        DataError: Shapes differ or there is no target.
    """
    references = dict(baselines) | ({} if champion is None else {CHAMPION_NAME: champion})
    differences = {
        name: paired_difference(
            challenger,
            reference_values,
            user_idx,
            n_resamples=gate_config.n_resamples,
            seed=gate_config.seed,
        )
        for name, reference_values in references.items()
    }
    must_beat = {
        name: difference
        for name, difference in differences.items()
        if non_inferiority_margin is None or name != CHAMPION_NAME
    }
    reason_texts = _unbeaten(must_beat, gate_config)
    if non_inferiority_margin is not None and champion is not None:
        reason_texts += _inferiority(differences[CHAMPION_NAME], non_inferiority_margin)
    if champion is not None:
        reason_texts += _slice_drops(challenger - champion, slices, gate_config)
    if new_only is not None:
        reason_texts += _new_only_drop(new_only, user_idx, gate_config)
    return GateDecision(not reason_texts, tuple(reason_texts), differences)


@dataclass(frozen=True, slots=True)
class GroupedTargets:
    """Groups of the targets' users, for comparisons of accuracy gaps.

    Attributes:
        user_idx: User of each target, shape (n_targets,).
        level_idx: Group of each target by attribute, -1 for none or a small one, shape
            (n_targets,) each.
    """

    user_idx: npt.NDArray[np.integer]
    level_idx: Mapping[str, Int64]


def accuracy_gap_reasons(
    challenger: Float64, champion: Float64, targets: GroupedTargets, gate_config: GateConfig
) -> tuple[str, ...]:
    """Reasons why a challenger widens a gap between groups of users, beyond noise.

    Args:
        challenger: Metric of the challenger per target, shape (n_targets,).
        champion: The same of the champion.
        targets: Users and groups.
        gate_config: Bounds.
    """
    growth_by_attribute = {
        attribute: gap_growth(
            challenger,
            champion,
            targets.user_idx,
            level_idx,
            n_resamples=gate_config.n_resamples,
            seed=gate_config.seed,
        )
        for attribute, level_idx in targets.level_idx.items()
        if len(np.unique(level_idx[level_idx >= 0])) > 1
    }
    return tuple(
        f"the gap of NDCG@10 between groups of {attribute} grows by {growth.estimate:.4f} "
        f"[{growth.low:+.4f}, {growth.high:+.4f}], more than "
        f"{gate_config.max_accuracy_gap_growth:g}"
        for attribute, growth in growth_by_attribute.items()
        if growth.low > gate_config.max_accuracy_gap_growth
    )


def exposure_reasons(
    challenger: Float64,
    champion: Float64,
    user_idx: npt.NDArray[np.integer],
    gate_config: GateConfig,
) -> tuple[str, ...]:
    """Reasons why a challenger shows items outside the most popular less, beyond noise.

    Args:
        challenger: Share of the exposure of such items in each list, shape (n_lists,).
        champion: The same of the champion's lists for the same targets.
        user_idx: User of each list, shape (n_lists,).
        gate_config: Bounds.
    """
    difference = paired_difference(
        challenger, champion, user_idx, n_resamples=gate_config.n_resamples, seed=gate_config.seed
    )
    if difference.high >= -gate_config.max_exposure_gap_growth:
        return ()
    return (
        "the exposure of items outside the most popular fifth falls by more than "
        f"{gate_config.max_exposure_gap_growth:g} below that of {CHAMPION_NAME}: "
        f"{_interval_text(difference)}",
    )


def membership_reasons(
    attack_low_ends: Mapping[str, float], gate_config: GateConfig
) -> tuple[str, ...]:
    """Reasons why a model tells too well who was in its training.

    Args:
        attack_low_ends: Lower end of the interval of each attack's AUC, by its name.
        gate_config: Bounds.
    """
    return tuple(
        f"membership attack by {name}: the AUC is above {gate_config.max_membership_auc:g}, its "
        f"interval begins at {low:.3f}"
        for name, low in attack_low_ends.items()
        if low > gate_config.max_membership_auc
    )


def _unbeaten(differences: Mapping[str, PairedDifference], gate_config: GateConfig) -> list[str]:
    """Reasons for the references that the challenger does not beat, or loses to."""
    unbeaten = [
        f"does not beat {name}: {_interval_text(difference)}, p {difference.p_value:.3f}"
        for name, difference in differences.items()
        if name not in gate_config.may_equal and not _is_better(difference, gate_config)
    ]
    return unbeaten + [
        f"loses to {name}: {_interval_text(difference)}"
        for name, difference in differences.items()
        if name in gate_config.may_equal and difference.high < 0
    ]


def _inferiority(difference: PairedDifference, margin: float) -> list[str]:
    """Reason why the challenger may be worse than the champion by more than the margin."""
    if difference.low >= -margin:
        return []
    return [f"may lose more than {margin:g} to {CHAMPION_NAME}: {_interval_text(difference)}"]


def _is_better(difference: PairedDifference, gate_config: GateConfig) -> bool:
    is_large = difference.estimate > gate_config.min_gain
    return is_large and difference.p_value <= gate_config.max_p_value


def _interval_text(difference: PairedDifference) -> str:
    return f"{difference.estimate:+.4f} [{difference.low:+.4f}, {difference.high:+.4f}]"


def _slice_drops(
    slice_gain: Float64, slices: Mapping[str, npt.NDArray[np.bool_]], gate_config: GateConfig
) -> list[str]:
    mean_drops = {
        name: -float(slice_gain[in_slice].mean())
        for name, in_slice in slices.items()
        if in_slice.sum() >= gate_config.min_slice_targets
    }
    return [
        f"slice {name} falls by {slice_drop:.4f}, more than {gate_config.max_slice_drop}"
        for name, slice_drop in mean_drops.items()
        if not slice_drop <= gate_config.max_slice_drop
    ]


def _new_only_drop(
    new_only: NewOnlyComparison, user_idx: npt.NDArray[np.integer], gate_config: GateConfig
) -> list[str]:
    """Reason why the ranking of new items is worse than the champion's, beyond noise."""
    is_new = ~(np.isnan(new_only.challenger) | np.isnan(new_only.champion))
    if is_new.sum() < gate_config.min_slice_targets:
        return []
    difference = paired_difference(
        new_only.challenger[is_new],
        new_only.champion[is_new],
        user_idx[is_new],
        n_resamples=gate_config.n_resamples,
        seed=gate_config.seed,
    )
    if difference.high >= -gate_config.max_new_only_drop:
        return []
    return [
        f"new items only: loses more than {gate_config.max_new_only_drop:g} to {CHAMPION_NAME}: "
        f"{_interval_text(difference)}"
    ]
