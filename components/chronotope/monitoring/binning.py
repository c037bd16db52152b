"""Binning of columns: bins come from earlier windows and are the same in every window."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from chronotope.contracts.event_log import Float64, Int64
from chronotope.monitoring.encoded_events import EncodedColumn, EncodedEvents

OTHER = "other"
NONE = "none"
DECILES = 10
HOURS = 24


@dataclass(frozen=True, slots=True)
class BinnedColumn:
    """A column in bins.

    Attributes:
        name: As it is shown.
        codes: Bin of each event, -1 where there is nothing to compare, shape (n,).
        labels: Names of the bins.
    """

    name: str
    codes: Int64
    labels: tuple[str, ...]


def bin_columns(
    events: EncodedEvents, is_history: npt.NDArray[np.bool_], n_bins: int
) -> list[BinnedColumn]:
    """Every column that has anything to tell: at least two bins.

    Texts keep their commonest values of history apart and put the rest together; an unknown
    text is a bin of its own. Numbers are cut at the quantiles of history.

    Args:
        events: All events.
        is_history: Which came before the current window, shape (n_events,).
        n_bins: Values that are told apart.
    """
    texts = {"item": events.item, **events.texts}
    if np.array_equal(_renamed(events.texts["place"], events.item), events.item.codes):
        del texts["place"]  # of check-ins both are one
    found = [_of_text(name, of, is_history, max(n_bins, HOURS)) for name, of in texts.items()]
    found += [_of_number(name, of, is_history, n_bins) for name, of in events.numbers.items()]
    return [each for each in found if len(each.labels) > 1]


def _renamed(place: EncodedColumn, item: EncodedColumn) -> Int64:
    """Places as codes of the items that are called the same."""
    code = {name: at for at, name in enumerate(item.names)}
    return np.array([*(code.get(name, -1) for name in place.names), -1])[place.codes]


def _of_text(
    name: str, of: EncodedColumn, is_history: npt.NDArray[np.bool_], n_bins: int
) -> BinnedColumn:
    known = of.codes[is_history & (of.codes >= 0)]
    counts = np.bincount(known, minlength=len(of.names))
    common = np.sort(np.argsort(-counts, kind="stable")[:n_bins])
    common = common[counts[common] > 0]
    labels = [of.names[at] for at in common]
    bin_of = np.full(len(of.names) + 1, len(labels))
    bin_of[common] = np.arange(len(labels))
    bin_of[-1] = len(labels) + 1
    codes = bin_of[of.codes]
    return BinnedColumn(name, *_without_empty(codes, [*labels, OTHER, NONE]))


def _of_number(
    name: str, of: Float64, is_history: npt.NDArray[np.bool_], n_bins: int
) -> BinnedColumn:
    """Quantiles of history; what lies beyond all of history has a bin on either side."""
    known = np.isfinite(of)
    past = of[is_history & known]
    if not len(past):
        return BinnedColumn(name, np.full(len(of), -1), ())
    inner = np.quantile(past, np.linspace(0, 1, min(n_bins, DECILES) + 1)[1:-1])
    edges = np.unique([np.nextafter(past.min(), -np.inf), *inner, past.max()])
    codes = np.where(known, np.searchsorted(edges, of, side="left"), -1)
    told = [f"{edge:.3g}" for edge in edges]
    between = [f"{low} \N{EN DASH} {high}" for low, high in pairwise(told)]
    return BinnedColumn(name, *_without_empty(codes, [f"< {told[0]}", *between, f"> {told[-1]}"]))


def _without_empty(codes: Int64, labels: list[str]) -> tuple[Int64, tuple[str, ...]]:
    """The same without bins that nothing ever fell into."""
    used = np.bincount(codes[codes >= 0], minlength=len(labels)) > 0
    place = np.append(np.cumsum(used) - 1, -1)
    return place[codes], tuple(label for label, of in zip(labels, used, strict=True) if of)
