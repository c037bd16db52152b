"""Outcome of recommendations: hit rates by day and position, and their drift.

An answer is followed if its user has one of its items within the horizon. At a position, the
share by inverse propensity, ``sum(hit / p) / sum(1 / p)``, is what any item of the pool would
get there, whatever the policy preferred: position alone (Joachims et al. 2017).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy import stats

from chronotope.contracts import columns as c
from chronotope.contracts.drift_report import AnswerRow, OutcomeSummary, PositionRow
from chronotope.contracts.event_log import Float64, Int64
from chronotope.lake.impression_tables import ANSWER, AT_S, POLICY, POSITION, PROPENSITY, VERSION
from chronotope.metrics import gini
from chronotope.monitoring.config import MonitorConfig
from chronotope.monitoring.encoded_events import encode_column
from chronotope.monitoring.sampling_noise import HALF_WIDTH, clustered_mean
from chronotope.monitoring.thresholds import DriftStatistic
from chronotope.monitoring.windows import Windows

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class ShownAnswers:
    """One row an answer to somebody known whose horizon has passed, in the order of the log.

    Attributes:
        user: Who asked.
        at_s: When, UTC seconds.
        version: Which model.
        greedy: Whether nothing was left to chance.
        hit: Whether a shown item followed.
    """

    user: Int64
    at_s: Int64
    version: npt.NDArray[np.str_]
    greedy: Mask
    hit: Mask


def summarise_outcome(
    shown: pa.Table, actions: pa.Table, config: MonitorConfig
) -> tuple[OutcomeSummary, ShownAnswers] | None:
    """Follow up every answer; None if nothing was shown.

    Args:
        shown: Columns of ``chronotope.lake.impression_tables.impression_table``.
        actions: Columns of ``action_table`` of the same module; duplicates are harmless.
        config: The horizon.
    """
    shown, actions = shown.filter(pc.is_valid(shown.column(AT_S))), actions.drop_null()
    if not len(shown):
        return None
    horizon_s = int(3600 * config.horizon_h)
    last = max(pc.max(shown.column(AT_S)).as_py(), pc.max(actions.column(AT_S)).as_py() or 0)
    nameless = pc.is_null(shown.column(c.USER_ID))
    open_ = pc.greater(shown.column(AT_S), last - horizon_s)
    n_nameless, n_open = (
        _n_answers(shown.filter(of)) for of in (nameless, pc.and_not(open_, nameless))
    )
    rows = shown.filter(pc.invert(pc.or_(nameless, open_)))
    hit = _followed(rows, actions, horizon_s)
    answers = _answers(rows, hit)
    items = pc.value_counts(rows.column(c.ITEM_ID)).field("counts").to_numpy()
    return (
        OutcomeSummary(
            n_answers=len(answers.hit),
            n_open=n_open,
            n_nameless=n_nameless,
            explored=float(1 - answers.greedy.mean()) if len(answers.hit) else 0.0,
            gini=gini(items) if len(items) else 0.0,
            days=_days(answers),
            positions=_positions(rows, hit),
        ),
        answers,
    )


def measure_outcome_drift(
    answers: ShownAnswers, champion: str | None, windows: Windows, config: MonitorConfig
) -> list[DriftStatistic]:
    """The champion's share of followed answers in the current window beside earlier ones.

    Args:
        answers: What was followed up.
        champion: Version of the champion; None judges nothing.
        windows: How time is cut; answers later than the lake count to the current window.
        config: Sizes.
    """
    mine = answers.version == champion
    window = windows.of(answers.at_s[mine])
    counts = windows.counts(window, answers.hit[mine].astype(np.int64), 2)
    n = counts.sum(axis=1)
    if n[-1] < config.min_rows:
        return []
    now, earlier = window == windows.n - 1, (window >= 0) & (window < windows.n - 1)
    hit, user = answers.hit[mine].astype(np.float64), answers.user[mine]
    mean, error = clustered_mean(hit[now], user[now])
    enough = np.flatnonzero(n[:-1] >= config.min_rows)
    before = clustered_mean(hit[earlier], user[earlier]) if earlier.any() else (mean, 0.0)
    z = (mean - before[0]) / max(float(np.hypot(error, before[1])), 1e-12)
    shares = (counts[enough, 1] + 0.5) / (n[enough] + 1)
    return [
        DriftStatistic(
            "outcome",
            "answers followed",
            "share",
            float((counts[-1, 1] + 0.5) / (n[-1] + 1)),
            max(0.0, mean - HALF_WIDTH * error),
            min(1.0, mean + HALF_WIDTH * error),
            history=shares,
            p_sampling=float(stats.norm.cdf(z)),
            side="below",
            scale="log-odds",
        )
    ]


def _n_answers(rows: pa.Table) -> int:
    return int(pc.count_distinct(rows.column(ANSWER)).as_py())


def _followed(rows: pa.Table, actions: pa.Table, horizon_s: int) -> Mask:
    """Whether each item shown was had by its user within the horizon, shape (n_rows,)."""
    pair, done = _pairs(rows, actions)
    shown_s, done_s = (of.column(AT_S).to_numpy() for of in (rows, actions))
    span = int(max(shown_s.max(initial=0), done_s.max(initial=0))) + horizon_s + 1
    keys = np.sort(done * span + done_s)  # by pair, then time
    first = pair * span + shown_s
    ended = np.searchsorted(keys, first + horizon_s, side="right")
    return np.asarray(np.searchsorted(keys, first) < ended)


def _pairs(rows: pa.Table, actions: pa.Table) -> tuple[Int64, Int64]:
    """A number for each user with an item, the same in both tables."""
    both = pa.concat_tables([of.select([c.USER_ID, c.ITEM_ID]) for of in (rows, actions)])
    user, item = encode_column(both.column(c.USER_ID)), encode_column(both.column(c.ITEM_ID))
    pairs = np.unique(user.codes * len(item.names) + item.codes, return_inverse=True)[1]
    return pairs[: len(rows)], pairs[len(rows) :]


def _answers(rows: pa.Table, hit: Mask) -> ShownAnswers:
    number = rows.column(ANSWER).to_numpy()
    first = np.flatnonzero(np.diff(number, prepend=-1))
    one = rows.take(pa.array(first))
    any_hit = np.add.reduceat(hit.astype(np.int64), first) > 0 if len(first) else hit
    return ShownAnswers(
        user=encode_column(one.column(c.USER_ID)).codes,
        at_s=one.column(AT_S).to_numpy(),
        version=np.asarray(pc.fill_null(one.column(VERSION), "").to_pylist(), dtype=np.str_),
        greedy=pc.equal(pc.fill_null(one.column(POLICY), ""), "greedy").to_numpy(),
        hit=any_hit,
    )


def _days(answers: ShownAnswers) -> tuple[AnswerRow, ...]:
    day = answers.at_s // 86_400
    keys, place = np.unique(np.rec.fromarrays([day, answers.version]), return_inverse=True)
    n, hits = np.bincount(place), np.bincount(place, weights=answers.hit)
    days = np.array([key[0] for key in keys], dtype="datetime64[D]").astype(str)
    return tuple(
        AnswerRow(day=str(d), version=str(key[1]), n_answers=int(m), hit_rate=float(h / m))
        for d, key, m, h in zip(days, keys, n, hits, strict=True)
    )


def _positions(rows: pa.Table, hit: Mask) -> tuple[PositionRow, ...]:
    position = rows.column(POSITION).to_numpy()
    n, hits = np.bincount(position), np.bincount(position, weights=hit)
    chance = np.asarray(rows.column(PROPENSITY).to_numpy(), dtype=np.float64)
    by_chance = _weighted(position, hit, chance, len(n))
    return tuple(
        PositionRow(
            position=int(at),
            n_shown=int(n[at]),
            hit_rate=float(hits[at] / n[at]),
            weighted=by_chance[at],
        )
        for at in np.flatnonzero(n)
    )


def _weighted(position: Int64, hit: Mask, chance: Float64, size: int) -> list[float | None]:
    """Shares by inverse propensity; None at positions where chance had no part."""
    usable = (chance > 0) & (chance <= 1)
    weight = 1 / np.where(usable, chance, np.inf)
    drawn = np.bincount(position, weights=usable & (chance < 1), minlength=size)
    total = np.bincount(position, weights=weight, minlength=size)
    hits = np.bincount(position, weights=weight * hit, minlength=size)
    return [float(h / t) if d else None for h, t, d in zip(hits, total, drawn, strict=True)]
