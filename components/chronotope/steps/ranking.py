"""From the model's scores to items: which are allowed, the best of them, and why."""

from dataclasses import dataclass
from math import isnan

import numpy as np
import numpy.typing as npt

from chronotope.artifact.bundle import Vocabulary
from chronotope.contracts.errors import ConfigError
from chronotope.contracts.eventlog import Float32, Float64, Int64
from chronotope.spacetime.distances import haversine_km
from chronotope.steps.answers import Item, Wish
from chronotope.steps.crowd import Crowd
from chronotope.steps.item_facts import ItemFacts
from chronotope.steps.past import Past
from chronotope.steps.reasons import tell_reasons


@dataclass(frozen=True, slots=True)
class Scored:
    """Every item of a catalogue, scored for one question.

    Attributes:
        log_probability: Over all known items, shape (n_items,); -inf for the unknown.
        allowed: Which items the wish allows, shape (n_items,).
        km: Distance from where the user is, shape (n_items,); None if nobody says.
    """

    log_probability: Float64
    allowed: npt.NDArray[np.bool_]
    km: Float64 | None

    def best(self, k: int) -> Int64:
        """Indices of the k likeliest allowed items; of equals the smaller index first."""
        scores = np.where(self.allowed, self.log_probability, -np.inf)
        least = -np.inf if k >= len(scores) else np.partition(scores, -k)[-k]
        candidates = np.flatnonzero((scores >= least) & self.allowed)
        order = np.argsort(-self.log_probability[candidates], kind="stable")
        return candidates[order[:k]]


def score_items(logits: Float32, past: Past, facts: ItemFacts, wish: Wish) -> Scored:
    """Probabilities, and what the wish allows.

    Raises:
        ConfigError: No item is of the wished kind.
    """
    scores = logits.astype(np.float64)
    scores[0] = -np.inf
    km = None
    if wish.lat is not None and wish.lon is not None:
        km = haversine_km(lat=facts.lat, lon=facts.lon, to_lat=wish.lat, to_lon=wish.lon)
    allowed = np.ones(len(scores), np.bool_)
    allowed[0] = False
    if wish.within_km is not None and km is not None:
        allowed &= km <= wish.within_km
    if wish.exclude_seen:
        allowed[past.item_idx] = False
    if wish.category is not None:
        allowed &= facts.category_idx == _category(facts, wish.category)
    best = scores.max()
    shares = np.exp((scores - best).astype(np.float32))  # fast, and exact to seven digits
    total = best + np.log(shares.sum(dtype=np.float64))
    return Scored(scores - total, allowed, km)


def tell_items(
    chosen: Int64, scored: Scored, past: Past, crowd: Crowd, words: Vocabulary, facts: ItemFacts
) -> tuple[Item, ...]:
    """The chosen items in words."""
    n = len(chosen)
    told = zip(
        words.items.names(chosen),
        chosen.tolist(),
        np.exp(scored.log_probability[chosen]).tolist(),
        facts.lat[chosen].tolist(),
        facts.lon[chosen].tolist(),
        [None] * n if scored.km is None else scored.km[chosen].tolist(),
        facts.categories.names(facts.category_idx[chosen]),
        tell_reasons(chosen, past, crowd, words),
        strict=True,
    )
    return tuple(
        Item(
            id=str(name),
            title=words.titles[i] or "",
            probability=probability,
            lat=known(lat),
            lon=known(lon),
            distance_km=known(km),
            category=category,
            reason=reason,
        )
        for name, i, probability, lat, lon, km, category, reason in told
    )


def known(value: float | None) -> float | None:
    """None for NaN."""
    return None if value is None or isnan(value) else value


def _category(facts: ItemFacts, name: str) -> int:
    found = int(facts.categories.index([name])[0])
    if not found:
        some = ", ".join(facts.categories.ids[:10].to_pylist()) or "none at all"
        raise ConfigError("There is no such category", received=name, way_out=f"Known are {some}")
    return found
