"""What the events that nothing has learned from are like, beside all earlier ones."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from chronotope.contracts import columns as c
from chronotope.validation.divergence import first_window, stability_index

COLUMNS: Final = (c.EVENT_ID, c.USER_ID, c.ITEM_ID, c.EVENT_TYPE, c.OCCURRED_AT, c.UTC_OFFSET_MIN)
"""What of the events is looked at."""

N_ITEMS: Final = 20
"""Items that are told apart, the most popular of both sides; the rest is one."""

WHOLE_DAYS_S: Final = 2 * 86_400
"""Hours are compared over at least so long: one afternoon is no change of habits."""

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PopulationShift:
    """New events beside earlier ones.

    Attributes:
        n_new: New events.
        n_with_past: Those of users who had done something before, who can teach.
        new_users: Share of the new events' users who are new.
        new_items: Share of the new events' items that are new.
        psi: Population stability index of event types, items and local hours; empty with
            too few new events, without hours if they span less than two days.
    """

    n_new: int
    n_with_past: int
    new_users: float
    new_items: float
    psi: dict[str, float]


def measure_shift(
    events: pa.Table, is_new: npt.NDArray[np.bool_], *, compared_rows: int
) -> PopulationShift:
    """Compare new events with all the others.

    Args:
        events: Columns ``COLUMNS``.
        is_new: Which are new, shape (n_events,).
        compared_rows: With fewer new events the distributions are not compared.
    """
    user, item = (_codes(events.column(name)) for name in (c.USER_ID, c.ITEM_ID))
    n_new = int(is_new.sum())
    fresh_users, new_users = _fresh(user, is_new)
    _, new_items = _fresh(item, is_new)
    enough = compared_rows <= n_new < len(events)
    return PopulationShift(
        n_new=n_new,
        n_with_past=n_new - fresh_users,
        new_users=new_users,
        new_items=new_items,
        psi=_indices(events, item, is_new) if enough else {},
    )


def _fresh(codes: npt.NDArray[np.int64], is_new: npt.NDArray[np.bool_]) -> tuple[int, float]:
    """Codes that occur among new events alone: how many, and their share of the new ones'."""
    fresh = int((first_window(codes, is_new.astype(np.int64)) == 1).sum())
    return fresh, fresh / max(1, len(np.unique(codes[is_new])))


def _indices(
    events: pa.Table, item: npt.NDArray[np.int64], is_new: npt.NDArray[np.bool_]
) -> dict[str, float]:
    kinds = {"event types": _codes(events.column(c.EVENT_TYPE)), "items": item}
    seconds = events.column(c.OCCURRED_AT).cast(pa.int64()).to_numpy() // 1_000_000
    if np.ptp(seconds[is_new]) >= WHOLE_DAYS_S:
        offsets = events.column(c.UTC_OFFSET_MIN).cast(pa.int64()).fill_null(0).to_numpy()
        kinds["local hours"] = (seconds + 60 * offsets) // 3600 % 24
    return {name: _psi(codes, is_new) for name, codes in kinds.items()}


def _psi(codes: npt.NDArray[np.int64], is_new: npt.NDArray[np.bool_]) -> float:
    """Stability index over the commonest codes of both sides, the others together."""
    size = int(codes.max(initial=0)) + 1
    now, earlier = (_shares(codes[mask], size) for mask in (is_new, ~is_new))
    apart = np.argsort(-np.maximum(now, earlier), kind="stable")[:N_ITEMS]
    p, q = (np.append(of[apart], max(0.0, 1 - of[apart].sum())) for of in (now, earlier))
    return float(stability_index(p, q))


def _shares(codes: npt.NDArray[np.int64], size: int) -> Numbers:
    return np.asarray(np.bincount(codes, minlength=size) / max(1, len(codes)))


def _codes(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    encoded = pc.fill_null(column, "").combine_chunks().dictionary_encode()
    return np.asarray(encoded.indices.to_numpy(zero_copy_only=False), dtype=np.int64)
