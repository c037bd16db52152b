"""Results of the live arms of an experiment and of its shadow arms."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chronotope.experiments.experiment import Experiment, ExperimentArm
from chronotope.experiments.exposures import Exposure, Hits
from chronotope.metrics import PairedDifference, paired_difference
from chronotope.metrics.uplift import (
    HitsPerList,
    Uplift,
    estimate_uplift,
    hits_per_list,
    share_mismatch,
)

MAX_MISMATCH_P = 0.001
"""P-value of the sample ratio mismatch test below which no arm gets a verdict."""


@dataclass(frozen=True, slots=True)
class ArmResult:
    """Result of a live arm.

    Attributes:
        name, model, share: Design of the arm.
        versions: Model versions that answered.
        n_users, n_lists, n_hits: Number of users, shown lists and hits.
        n_fell_back: Number of lists that the champion answered instead of the arm's model.
        rate: Hits per list; None with too few users.
        uplift: Uplift over the control; None for the control, or with too few users in either.
        verdict: Conclusion as text, such as ``no significant difference``.
    """

    name: str
    model: str
    share: float
    versions: tuple[str, ...]
    n_users: int
    n_lists: int
    n_hits: int
    n_fell_back: int
    rate: HitsPerList | None
    uplift: Uplift | None
    verdict: str


@dataclass(frozen=True, slots=True)
class ShadowResult:
    """Result of a shadow arm, compared with the lists that were shown.

    Attributes:
        name, model: Design of the arm.
        versions: Model versions that answered.
        n_lists: Number of shadow lists.
        overlap: Share of their items that the shown lists contain as well.
        same_first: Share of lists with the same first item as the shown list.
        hits: Hits per shadow list, although the lists were not shown.
        hits_shown: Hits per shown list, which are favoured by being shown.
        difference: ``hits - hits_shown``, clustered by user; None with too few users.
    """

    name: str
    model: str
    versions: tuple[str, ...]
    n_lists: int
    overlap: float
    same_first: float
    hits: float
    hits_shown: float
    difference: PairedDifference | None


def arm_results(
    experiment: Experiment, exposures: Sequence[Exposure], hits: Hits, *, min_users: int
) -> tuple[tuple[ArmResult, ...], float, int]:
    """Compute the results of the live arms, and the sample ratio mismatch test.

    Args:
        experiment: Design of the experiment.
        exposures: Shown lists.
        hits: Hit mask of the positions of each list.
        min_users: Minimum number of users of an arm for a verdict.

    Returns:
        Results of the arms, p-value of the sample ratio mismatch test, and number of lists left
        out because their arm is not the one that the design assigns to the user.
    """
    arm_rows: dict[str, list[int]] = {arm.name: [] for arm in experiment.live}
    for row_idx, item_exposure in enumerate(exposures):
        if item_exposure.arm == experiment.arm_of(item_exposure.user_id).name:
            arm_rows[item_exposure.arm].append(row_idx)
    n_users = [len({exposures[row].user_id for row in rows}) for rows in arm_rows.values()]
    arm_shares = np.array([arm.share for arm in experiment.live])
    mismatch_p = share_mismatch(np.array(n_users), arm_shares)
    # Bonferroni correction: each arm except the control is one comparison.
    level = 1 - 0.05 / max(1, len(arm_rows) - 1)
    arm_rates = [
        _hit_rate(exposures, hits, rows, level) if n_arm_users >= min_users else None
        for n_arm_users, rows in zip(n_users, arm_rows.values(), strict=True)
    ]
    results: list[ArmResult] = []
    for arm, rows, rate in zip(experiment.live, arm_rows.values(), arm_rates, strict=True):
        is_control, control = not results, arm_rates[0]
        uplift = (
            None
            if is_control or not (control and rate)
            else estimate_uplift(control, rate, level=level)
        )
        verdict = "control" if is_control and rate else _arm_verdict(uplift, mismatch_p)
        results.append(_arm_result(arm, exposures, hits, rows, rate, uplift, verdict))
    return tuple(results), mismatch_p, len(exposures) - sum(map(len, arm_rows.values()))


def _hit_rate(
    exposures: Sequence[Exposure], hits: Hits, rows: list[int], level: float
) -> HitsPerList:
    user_sums: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for row in rows:
        hits_and_lists = user_sums[exposures[row].user_id]
        hits_and_lists[0] += float(hits[row].sum())
        hits_and_lists[1] += 1
    sums_array = np.array(list(user_sums.values()))  # (n_users, 2)
    return hits_per_list(sums_array[:, 0], sums_array[:, 1], level=level)


def _arm_result(
    arm: ExperimentArm,
    exposures: Sequence[Exposure],
    hits: Hits,
    rows: list[int],
    rate: HitsPerList | None,
    uplift: Uplift | None,
    verdict: str,
) -> ArmResult:
    arm_exposures = [exposures[row] for row in rows]
    return ArmResult(
        name=arm.name,
        model=arm.model,
        share=arm.share,
        versions=tuple(sorted({item_exposure.version for item_exposure in arm_exposures})),
        n_users=len({item_exposure.user_id for item_exposure in arm_exposures}),
        n_lists=len(arm_exposures),
        n_hits=sum(int(hits[row].sum()) for row in rows),
        n_fell_back=sum(item_exposure.fell_back for item_exposure in arm_exposures),
        rate=rate,
        uplift=uplift,
        verdict=verdict,
    )


def _arm_verdict(uplift: Uplift | None, mismatch_p: float) -> str:
    if uplift is None:
        return "not enough users"
    if mismatch_p < MAX_MISMATCH_P:
        return "sample ratio mismatch: no verdict until its cause is known"
    if uplift.low <= 0 <= uplift.high:
        return "no significant difference"
    direction = "better" if uplift.difference > 0 else "worse"
    is_anytime_valid = not uplift.always_low <= 0 <= uplift.always_high
    validity = "anytime-valid" if is_anytime_valid else "if read only once"
    return f"{direction}, {validity}"


def shadow_result(
    arm: ExperimentArm,
    pairs: Sequence[tuple[Exposure, Exposure]],
    hits: Hits,
    hits_shown: Hits,
    *,
    min_users: int,
) -> ShadowResult:
    """Compute the result of a shadow arm.

    Args:
        arm: The shadow arm.
        pairs: Each shadow list with the list that was shown instead.
        hits: Hit mask of the positions of each shadow list.
        hits_shown: Hit mask of the positions of each shown list.
        min_users: Minimum number of users to compute the difference.
    """
    n_hits = [float(positions.sum()) for positions in hits]
    n_hits_shown = [float(positions.sum()) for positions in hits_shown]
    _, user_idx = np.unique([shadow.user_id for shadow, _ in pairs], return_inverse=True)
    difference = (
        paired_difference(np.array(n_hits), np.array(n_hits_shown), user_idx)
        if len(np.unique(user_idx)) >= min_users
        else None
    )
    return ShadowResult(
        name=arm.name,
        model=arm.model,
        versions=tuple(sorted({shadow.version for shadow, _ in pairs})),
        n_lists=len(pairs),
        overlap=_mean_or_zero([_item_overlap(shadow, shown) for shadow, shown in pairs]),
        same_first=_mean_or_zero([shadow.items[:1] == shown.items[:1] for shadow, shown in pairs]),
        hits=_mean_or_zero(n_hits),
        hits_shown=_mean_or_zero(n_hits_shown),
        difference=difference,
    )


def _item_overlap(shadow: Exposure, shown: Exposure) -> float:
    return len(set(shadow.items) & set(shown.items)) / max(1, len(shadow.items))


def _mean_or_zero(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else 0.0
