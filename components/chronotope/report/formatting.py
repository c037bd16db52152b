"""Formatting of names, numbers and instants in reports."""

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

_ORDER = (
    "acc_1",
    "acc_5",
    "acc_10",
    "ndcg_10",
    "mrr",
    "return_acc_10",
    "discovery_acc_10",
    "new_only_acc_10",
    "new_only_ndcg_10",
    "basket_recall_10",
    "basket_recall_20",
    "basket_ndcg_10",
    "basket_repeat_recall_10",
    "basket_explore_recall_10",
)
_LABELS = {
    "acc_1": "Acc@1",
    "acc_5": "Acc@5",
    "acc_10": "Acc@10",
    "acc_20": "Acc@20",
    "ndcg_10": "NDCG@10",
    "mrr": "MRR",
    "return_acc_10": "Returns Acc@10",
    "discovery_acc_10": "Discoveries Acc@10",
    "new_only_acc_10": "New items only Acc@10",
    "new_only_ndcg_10": "New items only NDCG@10",
    "basket_recall_10": "Recall@10",
    "basket_recall_20": "Recall@20",
    "basket_ndcg_10": "NDCG@10",
    "basket_repeat_recall_10": "Repeats Recall@10",
    "basket_explore_recall_10": "New items Recall@10",
}


def metric_label(identifier: str) -> str:
    """Display name of a metric.

    >>> metric_label("ndcg_10"), metric_label("median_km")
    ('NDCG@10', 'median km')
    """
    return _LABELS.get(identifier, identifier.replace("_", " "))


def words_of_identifier(identifier: str) -> str:
    """Identifier as words, for the first column of a table.

    >>> words_of_identifier("cold_user")
    'Cold user'
    """
    spaced_text = identifier.replace("_", " ")
    return spaced_text[:1].upper() + spaced_text[1:]


def metric_order(metric_rows: Iterable[Mapping[str, object]]) -> list[str]:
    """Metrics that occur in any row: the standard ones first, then the others by name."""
    metric_names = {identifier for row in metric_rows for identifier in row}
    return [identifier for identifier in _ORDER if identifier in metric_names] + sorted(
        metric_names.difference(_ORDER)
    )


def format_number(value: float | None, n_digits: int = 3) -> str:
    """A number with a fixed count of decimals; a dash where there is none.

    >>> format_number(0.29641), format_number(1234567, 0)
    ('0.296', '1,234,567')
    """
    if value is None or not math.isfinite(value):
        return "\N{EN DASH}"
    return f"{value:,.{n_digits}f}"


def format_percent(share: float, n_digits: int = 1) -> str:
    """A share of 0 to 1 as a percentage.

    >>> format_percent(0.0123)
    '1.2 %'
    """
    return f"{format_number(100 * share, n_digits)} %"


def format_instant(instant: datetime) -> str:
    """Timezone-aware instant in UTC, to the second.

    >>> format_instant(datetime(2024, 5, 1, 12, 30, tzinfo=UTC))
    '2024-05-01 12:30:00 UTC'
    """
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
