"""How the arms of an experiment did, and what its shadows would have shown."""

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

MISMATCH = 0.001
"""Below this p-value the arms' users did not come by their shares."""


@dataclass(frozen=True, slots=True)
class ArmResult:
    """One live arm.

    Attributes:
        name, model, share: As designed.
        versions: That answered.
        n_users, n_lists, n_hits, n_fell_back: Counts; the last of lists.
        rate: Hits a list; None with too few users.
        uplift: Against the control; None for the control, or with too few users in either.
        verdict: In words.
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
    """One shadow, beside the lists that were shown instead of its own.

    Attributes:
        name, model: As designed.
        versions: That answered.
        n_lists: Questions that it answered too.
        overlap: Share of its items that were shown as well.
        same_first: Share of questions with the same first item.
        hits: Items of its lists that users went for, a list, unseen as they were.
        hits_shown: The same of the lists that were shown, which had the better chance.
        difference: The former minus the latter, by users; None with too few users.
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
    """Results of the live arms.

    Args:
        experiment: The design.
        exposures: Lists that were shown.
        hits: Which of their positions were hit.
        min_users: An arm with fewer gets no verdict.

    Returns:
        The arms; p-value of the users' having come by the shares; number of lists that
        were left out because their arm is not the one the design gives the user.
    """
    own: dict[str, list[int]] = {arm.name: [] for arm in experiment.live}
    for row, one in enumerate(exposures):
        if one.arm == experiment.arm_of(one.user_id).name:
            own[one.arm].append(row)
    n_users = [len({exposures[row].user_id for row in rows}) for rows in own.values()]
    mismatch = share_mismatch(np.array(n_users), np.array([arm.share for arm in experiment.live]))
    level = 1 - 0.05 / max(1, len(own) - 1)  # as many comparisons as arms but the control
    rates = [
        _rate(exposures, hits, rows, level) if n >= min_users else None
        for n, rows in zip(n_users, own.values(), strict=True)
    ]
    results: list[ArmResult] = []
    for arm, rows, rate in zip(experiment.live, own.values(), rates, strict=True):
        is_control, control = not results, rates[0]
        uplift = (
            None
            if is_control or not (control and rate)
            else estimate_uplift(control, rate, level=level)
        )
        verdict = "control" if is_control and rate else _verdict(uplift, mismatch)
        results.append(_result(arm, exposures, hits, rows, rate, uplift, verdict))
    return tuple(results), mismatch, len(exposures) - sum(map(len, own.values()))


def _rate(exposures: Sequence[Exposure], hits: Hits, rows: list[int], level: float) -> HitsPerList:
    sums: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for row in rows:
        mine = sums[exposures[row].user_id]
        mine[0] += float(hits[row].sum())
        mine[1] += 1
    of_users = np.array(list(sums.values()))
    return hits_per_list(of_users[:, 0], of_users[:, 1], level=level)


def _result(
    arm: ExperimentArm,
    exposures: Sequence[Exposure],
    hits: Hits,
    rows: list[int],
    rate: HitsPerList | None,
    uplift: Uplift | None,
    verdict: str,
) -> ArmResult:
    mine = [exposures[row] for row in rows]
    return ArmResult(
        name=arm.name,
        model=arm.model,
        share=arm.share,
        versions=tuple(sorted({one.version for one in mine})),
        n_users=len({one.user_id for one in mine}),
        n_lists=len(mine),
        n_hits=sum(int(hits[row].sum()) for row in rows),
        n_fell_back=sum(one.fell_back for one in mine),
        rate=rate,
        uplift=uplift,
        verdict=verdict,
    )


def _verdict(uplift: Uplift | None, mismatch: float) -> str:
    if uplift is None:
        return "not enough"
    if mismatch < MISMATCH:
        return "users did not come by the shares: find out why, believe nothing"
    if uplift.low <= 0 <= uplift.high:
        return "no difference seen"
    word = "better" if uplift.difference > 0 else "worse"
    surely = not uplift.always_low <= 0 <= uplift.always_high
    return f"{word}, however often it was looked at" if surely else f"{word}, if looked at once"


def shadow_result(
    arm: ExperimentArm,
    pairs: Sequence[tuple[Exposure, Exposure]],
    hits: Hits,
    hits_shown: Hits,
    *,
    min_users: int,
) -> ShadowResult:
    """Result of a shadow.

    Args:
        arm: The shadow.
        pairs: Its lists, each with the one that was shown.
        hits: Which positions of its lists were hit.
        hits_shown: Which positions of the lists that were shown.
        min_users: With fewer there is no difference to tell.
    """
    mine, shown = ([float(one.sum()) for one in each] for each in (hits, hits_shown))
    _, users = np.unique([one.user_id for one, _ in pairs], return_inverse=True)
    enough = len(np.unique(users)) >= min_users
    difference = paired_difference(np.array(mine), np.array(shown), users) if enough else None
    return ShadowResult(
        name=arm.name,
        model=arm.model,
        versions=tuple(sorted({one.version for one, _ in pairs})),
        n_lists=len(pairs),
        overlap=_mean([_overlap(one, other) for one, other in pairs]),
        same_first=_mean([one.items[:1] == other.items[:1] for one, other in pairs]),
        hits=_mean(mine),
        hits_shown=_mean(shown),
        difference=difference,
    )


def _overlap(one: Exposure, other: Exposure) -> float:
    return len(set(one.items) & set(other.items)) / max(1, len(one.items))


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else 0.0
