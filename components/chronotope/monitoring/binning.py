"""Binning of columns: bins are derived from earlier windows and shared by all windows."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from chronotope.contracts.event_log import Float64, Int64
from chronotope.monitoring.encoded_events import EncodedColumn, EncodedEvents

OTHER = "other"
"""Label of the bin of all values without a bin of their own."""
NONE = "none"
"""Label of the bin of missing values."""
DECILES = 10
HOURS = 24


@dataclass(frozen=True, slots=True)
class BinnedColumn:
    """Column of the events in bins.

    Attributes:
        name: Name of the column in reports.
        codes: Bin of each event, -1 if the value is missing, shape (n_events,).
        labels: Labels of the bins.
    """

    name: str
    codes: Int64
    labels: tuple[str, ...]


def bin_columns(
    encoded_events: EncodedEvents, is_history: npt.NDArray[np.bool_], n_bins: int
) -> list[BinnedColumn]:
    """Bin all columns; those with a single bin are left out.

    For text columns, the most frequent values before the current window get a bin each, all
    others share one, and missing values have their own. Numeric columns are split at the
    quantiles of the values before the current window.

    Args:
        encoded_events: All events.
        is_history: Mask of the events before the current window, shape (n_events,).
        n_bins: Maximum number of bins of a column, without those of other, missing and
            out-of-range values; text columns have at least 24.
    """
    text_columns = {"item": encoded_events.item, **encoded_events.texts}
    place_item_codes = _codes_in(encoded_events.texts["place"], encoded_events.item)
    if np.array_equal(place_item_codes, encoded_events.item.codes):
        del text_columns["place"]  # in check-in data the place is the item
    binned_columns = [
        _bin_text(name, column_values, is_history, max(n_bins, HOURS))
        for name, column_values in text_columns.items()
    ]
    binned_columns += [
        _bin_number(name, column_values, is_history, n_bins)
        for name, column_values in encoded_events.numbers.items()
    ]
    return [binned_column for binned_column in binned_columns if len(binned_column.labels) > 1]


def _codes_in(column: EncodedColumn, target: EncodedColumn) -> Int64:
    """Values of a column in the codes of another one, -1 if it lacks them, shape (n_events,)."""
    code_of_name = {name: code_idx for code_idx, name in enumerate(target.names)}
    return np.array([*(code_of_name.get(name, -1) for name in column.names), -1])[column.codes]


def _bin_text(
    name: str, column_values: EncodedColumn, is_history: npt.NDArray[np.bool_], n_bins: int
) -> BinnedColumn:
    history_codes = column_values.codes[is_history & (column_values.codes >= 0)]
    value_counts = np.bincount(history_codes, minlength=len(column_values.names))
    common_codes = np.sort(np.argsort(-value_counts, kind="stable")[:n_bins])
    common_codes = common_codes[value_counts[common_codes] > 0]
    labels = [column_values.names[code_idx] for code_idx in common_codes]
    bin_of = np.full(len(column_values.names) + 1, len(labels))
    bin_of[common_codes] = np.arange(len(labels))
    bin_of[-1] = len(labels) + 1
    codes = bin_of[column_values.codes]
    return BinnedColumn(name, *_without_empty(codes, [*labels, OTHER, NONE]))


def _bin_number(
    name: str, column_values: Float64, is_history: npt.NDArray[np.bool_], n_bins: int
) -> BinnedColumn:
    """Bins between quantiles of history, and one below and one above its range."""
    is_known = np.isfinite(column_values)
    history_values = column_values[is_history & is_known]
    if not len(history_values):
        return BinnedColumn(name, np.full(len(column_values), -1), ())
    inner_quantiles = np.quantile(history_values, np.linspace(0, 1, min(n_bins, DECILES) + 1)[1:-1])
    bin_edges = np.unique(
        [np.nextafter(history_values.min(), -np.inf), *inner_quantiles, history_values.max()]
    )
    codes = np.where(is_known, np.searchsorted(bin_edges, column_values, side="left"), -1)
    edge_texts = [f"{edge_value:.3g}" for edge_value in bin_edges]
    range_labels = [
        f"{low_edge} \N{EN DASH} {high_edge}" for low_edge, high_edge in pairwise(edge_texts)
    ]
    return BinnedColumn(
        name, *_without_empty(codes, [f"< {edge_texts[0]}", *range_labels, f"> {edge_texts[-1]}"])
    )


def _without_empty(codes: Int64, labels: list[str]) -> tuple[Int64, tuple[str, ...]]:
    """Remove bins that no event falls into, and renumber the others."""
    is_used = np.bincount(codes[codes >= 0], minlength=len(labels)) > 0
    new_code = np.append(np.cumsum(is_used) - 1, -1)
    return new_code[codes], tuple(
        bin_label for bin_label, has_events in zip(labels, is_used, strict=True) if has_events
    )
