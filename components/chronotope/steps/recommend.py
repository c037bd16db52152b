"""What a user does next, when and where: the champion's answer, in words."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
from scipy.special import softmax

from chronotope.artifact.bundle import Vocabulary
from chronotope.contracts import columns as c
from chronotope.contracts.errors import ConfigError
from chronotope.contracts.eventlog import Float32, Float64
from chronotope.contracts.workspace import Workspace
from chronotope.lake import Lake
from chronotope.metrics.when import LognormalMixture
from chronotope.spacetime.distances import haversine_km
from chronotope.steps.answers import Item, Place, Recommendation, When, Wish
from chronotope.steps.champion import Champion, load_champion
from chronotope.steps.past import (
    as_queries,
    item_coordinates,
    occurred_s,
    read_crowd,
    read_history,
)
from chronotope.steps.reasons import tell_reasons

N_PLACES = 3
"""Places told where items are not places themselves."""

_MIN_SURVIVAL = 1e-6  # a longer silence is beyond what the mixture can speak of
_MAX_MEDIAN_H = 10 * 365 * 24.0  # so is a wait of ten years: the tail of one, not a forecast


def recommend(
    root: Path,
    dataset: str,
    user_id: str,
    at: datetime,
    *,
    wish: Wish | None = None,
    load: Callable[[Path, str], Champion] = load_champion,
) -> Recommendation:
    """Ask the champion what a user does at a moment; only events before it are read.

    Args:
        root: Project root.
        dataset: Whose champion.
        user_id: External id; one without events is answered as a stranger.
        at: The moment, with a time zone.
        wish: How many items, and where the user is.
        load: Opens the champion.

    Raises:
        ConfigError: No such dataset, or a latitude without longitude.
        StoreError: There is no champion yet.
    """
    wish, at = wish or Wish(), at.replace(microsecond=0)
    _check(wish, at)
    champion = load(root, dataset)
    lake, words = Lake(Workspace(root).lake(dataset)), champion.vocabulary
    history = read_history(lake, user_id, at)
    said = champion.model.answer(as_queries(history, user_id, at, words))
    items = _items(lake, champion, history, said.item_scores[0], at, wish)
    when = _when(said.when, history, at)
    return Recommendation(
        dataset,
        champion.version,
        user_id,
        at,
        len(history),
        items,
        when,
        _where(said.place_scores[0], words),
        tuple(_notes(champion, history, at, found=bool(items), timed=when is not None)),
    )


def _check(wish: Wish, at: datetime) -> None:
    if at.tzinfo is None:
        raise ConfigError("The moment needs a time zone", received=at, way_out="Append Z or +HH:MM")
    if (wish.lat is None) != (wish.lon is None):
        raise ConfigError("Give both latitude and longitude, or neither")
    if wish.within_km is not None and wish.lat is None:
        raise ConfigError("A greatest distance needs the user's latitude and longitude")


def _items(
    lake: Lake,
    champion: Champion,
    history: pa.Table,
    logits: Float32,
    at: datetime,
    wish: Wish,
) -> tuple[Item, ...]:
    words = champion.vocabulary
    probability = _probabilities(logits)
    lat, lon = item_coordinates(lake, words.items)
    here_lat, here_lon = (np.nan if v is None else v for v in (wish.lat, wish.lon))
    km = haversine_km(lat=lat, lon=lon, to_lat=here_lat, to_lon=here_lon)
    allowed = np.arange(len(km)) > 0
    if wish.within_km is not None:
        allowed &= km <= wish.within_km
    candidates = np.flatnonzero(allowed)
    top = candidates[np.argsort(-probability[candidates], kind="stable")][: wish.k]
    last_idx = int(words.items.index(history[c.ITEM_ID][-1:])[0]) if len(history) else 0
    crowd = read_crowd(lake, at, words.items, last_idx)
    if not crowd.counts.any():  # a moment long after the log
        crowd = read_crowd(lake, _trained_until(champion), words.items, last_idx)
    reasons = tell_reasons(top, history, crowd, words, last_idx)
    return tuple(
        Item(
            id=str(words.items.name(int(i))),
            title=words.titles[i] or "",
            probability=float(probability[i]),
            lat=_known(lat[i]),
            lon=_known(lon[i]),
            distance_km=_known(km[i]),
            reason=reason,
        )
        for i, reason in zip(top, reasons, strict=True)
    )


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _probabilities(logits: Float32) -> Float64:
    """Softmax over all but the unknown at index 0."""
    return np.concatenate([[0.0], softmax(logits[1:].astype(np.float64))])


def _when(mixture: Float32, history: pa.Table, at: datetime) -> When | None:
    """Quantiles of the rest of the gap, given that it has lasted ``s`` hours already.

    ``P(gap - s <= r | gap > s) = q`` where ``F(s + r) = F(s) + q (1 - F(s))``.
    """
    if not len(history):
        return None
    silent_h = float(at.timestamp() - occurred_s(history)[-1]) / 3600
    log_weight, mu, log_sigma = mixture.astype(np.float64).transpose(1, 0, 2)
    gap = LognormalMixture(log_weight, mu, np.exp(log_sigma))
    passed = float(gap.cdf(np.array([silent_h]))[0])
    if 1 - passed < _MIN_SURVIVAL:
        return None
    low, median, high = (
        max(0.0, float(gap.quantile(passed + q * (1 - passed))[0] - silent_h))
        for q in (0.1, 0.5, 0.9)
    )
    return When(median, low, high) if median <= _MAX_MEDIAN_H else None


def _where(logits: Float32, words: Vocabulary) -> tuple[Place, ...]:
    if words.places.size < 2 or words.places.ids.equals(words.items.ids):
        return ()
    probability = _probabilities(logits)
    top = np.argsort(-probability[1:], kind="stable")[:N_PLACES] + 1
    return tuple(Place(str(words.places.name(int(i))), float(probability[i])) for i in top)


def _trained_until(champion: Champion) -> datetime:
    known = datetime.fromtimestamp(champion.model.manifest.trained_until_s, UTC)
    return known + timedelta(seconds=1)


def _notes(
    champion: Champion, history: pa.Table, at: datetime, *, found: bool, timed: bool
) -> list[str]:
    notes = []
    if not len(history):
        notes.append("No event of this user before this moment: answered as for a stranger.")
    elif not timed:
        notes.append("The user has been silent for longer than the model can tell when.")
    if at < _trained_until(champion):
        notes.append("The model was trained on events after this moment as well.")
    if not found:
        notes.append("No item with known coordinates lies within this distance.")
    return notes
