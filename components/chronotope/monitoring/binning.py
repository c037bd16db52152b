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
    encoded_events: EncodedEvents, is_history: npt.NDArray[np.bool_], n_bins: int
) -> list[BinnedColumn]:
    """Binned columns with at least two bins.

    Texts keep their commonest values of history apart and put the rest together; an unknown
    text is a bin of its own. Numbers are cut at the quantiles of history.

    Args:
        encoded_events: All events.
        is_history: Which came before the current window, shape (n_events,).
        n_bins: Values that are told apart.
    """
    text_columns = {"item": encoded_events.item, **encoded_events.texts}
    if np.array_equal(
        _renamed(encoded_events.texts["place"], encoded_events.item), encoded_events.item.codes
    ):
        del text_columns["place"]  # of check-ins both are one
    binned_columns = [
        _of_text(name, column_values, is_history, max(n_bins, HOURS))
        for name, column_values in text_columns.items()
    ]
    binned_columns += [
        _of_number(name, column_values, is_history, n_bins)
        for name, column_values in encoded_events.numbers.items()
    ]
    return [binned_column for binned_column in binned_columns if len(binned_column.labels) > 1]


def _renamed(new_code: EncodedColumn, binned: EncodedColumn) -> Int64:
    """Places as codes of the items that are called the same."""
    code_of_name = {name: code_idx for code_idx, name in enumerate(binned.names)}
    return np.array([*(code_of_name.get(name, -1) for name in new_code.names), -1])[new_code.codes]


def _of_text(
    name: str, column_values: EncodedColumn, is_history: npt.NDArray[np.bool_], n_bins: int
) -> BinnedColumn:
    is_known = column_values.codes[is_history & (column_values.codes >= 0)]
    value_counts = np.bincount(is_known, minlength=len(column_values.names))
    common_codes = np.sort(np.argsort(-value_counts, kind="stable")[:n_bins])
    common_codes = common_codes[value_counts[common_codes] > 0]
    labels = [column_values.names[code_idx] for code_idx in common_codes]
    bin_of = np.full(len(column_values.names) + 1, len(labels))
    bin_of[common_codes] = np.arange(len(labels))
    bin_of[-1] = len(labels) + 1
    codes = bin_of[column_values.codes]
    return BinnedColumn(name, *_without_empty(codes, [*labels, OTHER, NONE]))


def _of_number(
    name: str, column_values: Float64, is_history: npt.NDArray[np.bool_], n_bins: int
) -> BinnedColumn:
    """Quantiles of history; what lies beyond all of history has a bin on either side."""
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
    """The same without bins that nothing ever fell into."""
    is_used = np.bincount(codes[codes >= 0], minlength=len(labels)) > 0
    new_code = np.append(np.cumsum(is_used) - 1, -1)
    return new_code[codes], tuple(
        bin_label for bin_label, column_values in zip(labels, is_used, strict=True) if column_values
    )
