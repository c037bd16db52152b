"""Outcome of recommendations: hit rates by day and position, and their drift.

An answer is a hit if its user interacts with one of its items within the horizon. The hit rate
of a position weighted by inverse propensity, ``sum(hit / p) / sum(1 / p)``, estimates the effect
of the position itself, free of the policy's preference for items (Joachims et al. 2017).
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
    """Answers to identified users whose horizon has passed, in the order of the log.

    Attributes:
        user: Code of the user who received the answer, shape (n_answers,).
        at_s: Time of the answer, UTC seconds, shape (n_answers,).
        version: Version of the model, shape (n_answers,).
        greedy: Whether the list was ranked without exploration, shape (n_answers,); a new item
            in the last position of some lists makes no difference.
        hit: Whether the user interacted with a shown item in time, shape (n_answers,).
    """

    user: Int64
    at_s: Int64
    version: npt.NDArray[np.str_]
    greedy: Mask
    hit: Mask


def summarise_outcome(
    impressions: pa.Table, action_rows: pa.Table, monitor_config: MonitorConfig
) -> tuple[OutcomeSummary, ShownAnswers] | None:
    """Attribute later interactions to the answers and summarise the hit rates.

    Args:
        impressions: Columns of ``chronotope.lake.impression_tables.impression_table``.
        action_rows: Interactions, columns of ``action_table`` of the same module; duplicates
            are allowed.
        monitor_config: The horizon.

    Returns:
        Summary, and the answers it is based on; None if nothing was shown.
    """
    impressions, action_rows = (
        impressions.filter(pc.is_valid(impressions.column(AT_S))),
        action_rows.drop_null(),
    )
    if not len(impressions):
        return None
    horizon_s = int(3600 * monitor_config.horizon_h)
    last_event_s = max(
        pc.max(impressions.column(AT_S)).as_py(), pc.max(action_rows.column(AT_S)).as_py() or 0
    )
    is_anonymous = pc.is_null(impressions.column(c.USER_ID))
    is_open = pc.greater(impressions.column(AT_S), last_event_s - horizon_s)
    n_nameless, n_open = (
        _n_answers(impressions.filter(row_mask))
        for row_mask in (is_anonymous, pc.and_not(is_open, is_anonymous))
    )
    shown_rows = impressions.filter(pc.invert(pc.or_(is_anonymous, is_open)))
    is_hit = _is_hit(shown_rows, action_rows, horizon_s)
    shown_answers = _answers(shown_rows, is_hit)
    item_counts = pc.value_counts(shown_rows.column(c.ITEM_ID)).field("counts").to_numpy()
    return (
        OutcomeSummary(
            n_answers=len(shown_answers.hit),
            n_open=n_open,
            n_nameless=n_nameless,
            explored=float(1 - shown_answers.greedy.mean()) if len(shown_answers.hit) else 0.0,
            gini=gini(item_counts) if len(item_counts) else 0.0,
            days=_days(shown_answers),
            positions=_positions(shown_rows, is_hit),
        ),
        shown_answers,
    )


def measure_outcome_drift(
    shown_answers: ShownAnswers,
    champion_version: str | None,
    time_windows: Windows,
    monitor_config: MonitorConfig,
) -> list[DriftStatistic]:
    """Compare the champion's hit rate in the current window with that in earlier windows.

    Args:
        shown_answers: Answers with their hits.
        champion_version: Version of the champion; None gives no statistic.
        time_windows: Windows of the comparison; answers after the last event of the lake count
            as part of the current window.
        monitor_config: Number of rows required.

    Returns:
        The statistic; empty with too few answers in the current window.
    """
    is_champion = shown_answers.version == champion_version
    window_idx = time_windows.of(shown_answers.at_s[is_champion])
    hit_counts = time_windows.counts(window_idx, shown_answers.hit[is_champion].astype(np.int64), 2)
    n_answers = hit_counts.sum(axis=1)
    if n_answers[-1] < monitor_config.min_rows:
        return []
    is_current, is_earlier = (
        window_idx == time_windows.n - 1,
        (window_idx >= 0) & (window_idx < time_windows.n - 1),
    )
    is_hit, user_codes = (
        shown_answers.hit[is_champion].astype(np.float64),
        shown_answers.user[is_champion],
    )
    mean_rate, standard_error = clustered_mean(is_hit[is_current], user_codes[is_current])
    compared_windows = np.flatnonzero(n_answers[:-1] >= monitor_config.min_rows)
    reference_rate = (
        clustered_mean(is_hit[is_earlier], user_codes[is_earlier])
        if is_earlier.any()
        else (mean_rate, 0.0)
    )
    z_score = (mean_rate - reference_rate[0]) / max(
        float(np.hypot(standard_error, reference_rate[1])), 1e-12
    )
    window_rates = (hit_counts[compared_windows, 1] + 0.5) / (n_answers[compared_windows] + 1)
    return [
        DriftStatistic(
            "outcome",
            "answers followed",
            "share",
            float((hit_counts[-1, 1] + 0.5) / (n_answers[-1] + 1)),
            max(0.0, mean_rate - HALF_WIDTH * standard_error),
            min(1.0, mean_rate + HALF_WIDTH * standard_error),
            history=window_rates,
            p_sampling=float(stats.norm.cdf(z_score)),
            side="below",
            scale="log-odds",
        )
    ]


def _n_answers(shown_rows: pa.Table) -> int:
    return int(pc.count_distinct(shown_rows.column(ANSWER)).as_py())


def _is_hit(shown_rows: pa.Table, action_rows: pa.Table, horizon_s: int) -> Mask:
    """Whether the user of each shown item interacted with it within the horizon, shape (n,)."""
    shown_pairs, action_pairs = _pairs(shown_rows, action_rows)
    shown_s, action_s = (table.column(AT_S).to_numpy() for table in (shown_rows, action_rows))
    time_span_s = int(max(shown_s.max(initial=0), action_s.max(initial=0))) + horizon_s + 1
    action_keys = np.sort(action_pairs * time_span_s + action_s)  # by pair, then time
    first_key = shown_pairs * time_span_s + shown_s
    end_positions = np.searchsorted(action_keys, first_key + horizon_s, side="right")
    return np.asarray(np.searchsorted(action_keys, first_key) < end_positions)


def _pairs(shown_rows: pa.Table, action_rows: pa.Table) -> tuple[Int64, Int64]:
    """Code of the (user, item) pair of each row, consistent over both tables."""
    joined_rows = pa.concat_tables(
        [table.select([c.USER_ID, c.ITEM_ID]) for table in (shown_rows, action_rows)]
    )
    user_codes, item_codes = (
        encode_column(joined_rows.column(c.USER_ID)),
        encode_column(joined_rows.column(c.ITEM_ID)),
    )
    pair_codes = np.unique(
        user_codes.codes * len(item_codes.names) + item_codes.codes, return_inverse=True
    )[1]
    return pair_codes[: len(shown_rows)], pair_codes[len(shown_rows) :]


def _answers(shown_rows: pa.Table, is_hit: Mask) -> ShownAnswers:
    """One row for each answer, from its rows in the impression table."""
    answer_numbers = shown_rows.column(ANSWER).to_numpy()
    starts = np.flatnonzero(np.diff(answer_numbers, prepend=-1))
    first_rows = shown_rows.take(pa.array(starts))
    any_hit = np.add.reduceat(is_hit.astype(np.int64), starts) > 0 if len(starts) else is_hit
    return ShownAnswers(
        user=encode_column(first_rows.column(c.USER_ID)).codes,
        at_s=first_rows.column(AT_S).to_numpy(),
        version=np.asarray(pc.fill_null(first_rows.column(VERSION), "").to_pylist(), dtype=np.str_),
        greedy=pc.starts_with(pc.fill_null(first_rows.column(POLICY), ""), "greedy").to_numpy(),
        hit=any_hit,
    )


def _days(shown_answers: ShownAnswers) -> tuple[AnswerRow, ...]:
    """Hit rate by UTC day and model version."""
    day_idx = shown_answers.at_s // 86_400
    day_versions, group_idx = np.unique(
        np.rec.fromarrays([day_idx, shown_answers.version]), return_inverse=True
    )
    n_answers, n_hits = np.bincount(group_idx), np.bincount(group_idx, weights=shown_answers.hit)
    day_dates = np.array([day for day, _ in day_versions], dtype="datetime64[D]").astype(str)
    return tuple(
        AnswerRow(
            day=str(day_text),
            version=str(version),
            n_answers=int(n_group_answers),
            hit_rate=float(n_group_hits / n_group_answers),
        )
        for day_text, (_, version), n_group_answers, n_group_hits in zip(
            day_dates, day_versions, n_answers, n_hits, strict=True
        )
    )


def _positions(shown_rows: pa.Table, is_hit: Mask) -> tuple[PositionRow, ...]:
    """Hit rate by list position, plain and weighted by inverse propensity."""
    list_position = shown_rows.column(POSITION).to_numpy()
    n_shown, n_hits = np.bincount(list_position), np.bincount(list_position, weights=is_hit)
    propensity = np.asarray(shown_rows.column(PROPENSITY).to_numpy(), dtype=np.float64)
    weighted_rates = _weighted_rates(list_position, is_hit, propensity, len(n_shown))
    return tuple(
        PositionRow(
            position=int(position_idx),
            n_shown=int(n_shown[position_idx]),
            hit_rate=float(n_hits[position_idx] / n_shown[position_idx]),
            weighted=weighted_rates[position_idx],
        )
        for position_idx in np.flatnonzero(n_shown)
    )


def _weighted_rates(
    list_position: Int64, is_hit: Mask, propensity: Float64, n_positions: int
) -> list[float | None]:
    """Hit rates weighted by inverse propensity; None at positions that were never randomised."""
    is_usable = (propensity > 0) & (propensity <= 1)
    inverse_propensity = 1 / np.where(is_usable, propensity, np.inf)
    n_random, total_weight, hit_weight = (
        np.bincount(list_position, weights=weights, minlength=n_positions)
        for weights in (
            is_usable & (propensity < 1),
            inverse_propensity,
            inverse_propensity * is_hit,
        )
    )
    return [
        float(position_hits / position_weight) if is_random else None
        for position_hits, position_weight, is_random in zip(
            hit_weight, total_weight, n_random, strict=True
        )
    ]
