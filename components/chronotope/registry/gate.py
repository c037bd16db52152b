"""The statistical half of the blessing: is the challenger better, and for everybody?"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from chronotope.contracts.event_log import Float64
from chronotope.metrics import PairedDifference, paired_difference

CHAMPION_NAME = "champion"


class GateConfig(BaseModel):
    """What a challenger has to show."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_p_value: float = Field(0.05, gt=0, lt=1, description="Chance allowed for luck")
    min_gain: float = Field(0.0, ge=0, description="Least mean gain over each rival")
    max_slice_drop: float = Field(0.02, ge=0, description="Largest fall of a slice's mean")
    min_slice_targets: int = Field(100, ge=1, description="Slices with fewer are not judged")
    n_resamples: int = Field(1000, ge=100, description="Resamples of the paired test")
    seed: int = Field(0, ge=0, description="Seed of the resampling")


@dataclass(frozen=True, slots=True)
class GateDecision:
    """Outcome of the gate.

    Attributes:
        passed: Whether the challenger may be promoted.
        reasons: What speaks against it, one sentence each; empty if it passed.
        differences: Challenger minus rival, by rival.
    """

    passed: bool
    reasons: tuple[str, ...]
    differences: dict[str, PairedDifference]


def evaluate_gate(
    challenger: Float64,
    champion: Float64 | None,
    baselines: Mapping[str, Float64],
    *,
    users: npt.NDArray[np.integer],
    slices: Mapping[str, npt.NDArray[np.bool_]],
    config: GateConfig,
    may_lose: float | None = None,
) -> GateDecision:
    """Compare a challenger with every rival on the same targets of the same folds.

    It must be better than each rival on average, by more than luck (paired test over
    users), and no slice may fall below the champion's by more than the bound. A challenger
    that is the champion's own network, compressed otherwise, cannot be better; it must be
    no worse: the interval of what it loses ends before ``may_lose``.

    Args:
        challenger: A value a target, such as its NDCG@10, shape (n_targets,).
        champion: The champion's values of the same targets; None if there is none yet.
        baselines: The baselines' values by name.
        users: Whose target it is, shape (n_targets,).
        slices: Masks over the targets by name.
        config: Bounds.
        may_lose: What a challenger of the champion's own network may lose; None if it is
            another network.

    Raises:
        DataError: Shapes differ or there is no target.
    """
    rivals = dict(baselines) | ({} if champion is None else {CHAMPION_NAME: champion})
    differences = {
        name: paired_difference(challenger, values, users, n_resamples=config.n_resamples, seed=config.seed)
        for name, values in rivals.items()
    }
    to_beat = {n: d for n, d in differences.items() if may_lose is None or n != CHAMPION_NAME}
    reasons = [
        f"does not beat {name}: {_interval(d)}, p {d.p_value:.3f}"
        for name, d in to_beat.items()
        if not (d.estimate > config.min_gain and d.p_value <= config.max_p_value)
    ]
    if may_lose is not None and champion is not None:
        lost = differences[CHAMPION_NAME]
        if not lost.low >= -may_lose:
            reasons.append(f"may lose more than {may_lose:g} to {CHAMPION_NAME}: {_interval(lost)}")
    if champion is not None:
        reasons += _fallen(challenger - champion, slices, config)
    return GateDecision(not reasons, tuple(reasons), differences)


def _interval(of: PairedDifference) -> str:
    return f"{of.estimate:+.4f} [{of.low:+.4f}, {of.high:+.4f}]"


def _fallen(
    gain: Float64, slices: Mapping[str, npt.NDArray[np.bool_]], config: GateConfig
) -> list[str]:
    drops = {
        name: -float(gain[chosen].mean())
        for name, chosen in slices.items()
        if chosen.sum() >= config.min_slice_targets
    }
    return [
        f"slice {name} falls by {drop:.4f}, more than {config.max_slice_drop}"
        for name, drop in drops.items()
        if not drop <= config.max_slice_drop
    ]
