"""Words and numbers as the report shows them."""

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

_ORDER = ("acc_1", "acc_5", "acc_10", "ndcg_10", "mrr", "return_acc_10", "discovery_acc_10")
_LABELS = {
    "acc_1": "Acc@1",
    "acc_5": "Acc@5",
    "acc_10": "Acc@10",
    "acc_20": "Acc@20",
    "ndcg_10": "NDCG@10",
    "mrr": "MRR",
    "return_acc_10": "Returns Acc@10",
    "discovery_acc_10": "Discoveries Acc@10",
}


def metric_label(name: str) -> str:
    """The reader's name of a metric.

    >>> metric_label("ndcg_10"), metric_label("median_km")
    ('NDCG@10', 'median km')
    """
    return _LABELS.get(name, name.replace("_", " "))


def words_of_identifier(name: str) -> str:
    """An identifier as words, for the first column of a table.

    >>> words_of_identifier("cold_user")
    'Cold user'
    """
    text = name.replace("_", " ")
    return text[:1].upper() + text[1:]


def metric_order(rows: Iterable[Mapping[str, object]]) -> list[str]:
    """Every metric any row has: the usual ones first, then the others by name."""
    found = {name for row in rows for name in row}
    return [name for name in _ORDER if name in found] + sorted(found.difference(_ORDER))


def format_number(value: float | None, digits: int = 3) -> str:
    """A number with a fixed count of decimals; a dash where there is none.

    >>> format_number(0.29641), format_number(1234567, 0)
    ('0.296', '1,234,567')
    """
    if value is None or not math.isfinite(value):
        return "\N{EN DASH}"
    return f"{value:,.{digits}f}"


def format_percent(share: float, digits: int = 1) -> str:
    """A share of 0 to 1 as a percentage.

    >>> format_percent(0.0123)
    '1.2 %'
    """
    return f"{format_number(100 * share, digits)} %"


def format_instant(at: datetime) -> str:
    """An aware instant in UTC, to the second.

    >>> format_instant(datetime(2024, 5, 1, 12, 30, tzinfo=UTC))
    '2024-05-01 12:30:00 UTC'
    """
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
