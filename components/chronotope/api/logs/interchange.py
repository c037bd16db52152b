"""Logs of other libraries: interactions of RecTools and sparse matrices, in and out.

RecTools is never imported: its objects are recognised by what they hold, and its ``Dataset`` is
built by the class that the caller passes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

import numpy as np
import pyarrow as pa

from chronotope.api.logs.clean_rows import MICROS_PER_S
from chronotope.api.logs.frame_spec import restored_ids
from chronotope.api.logs.frames import Frame, column_names
from chronotope.api.moments import to_moment
from chronotope.contracts import columns as c
from chronotope.contracts.errors import ConfigError, NotEnoughData
from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.contracts.ids import IdMap

if TYPE_CHECKING:
    import pandas as pd
    from scipy import sparse

USER: Final = "user_id"
ITEM: Final = "item_id"
WEIGHT: Final = "weight"
DATETIME: Final = "datetime"
INTERACTION_COLUMNS: Final = (USER, ITEM, WEIGHT, DATETIME)
"""Columns of interactions in RecTools (``rectools.Columns``) and of recommenders in general."""

Ids: TypeAlias = Sequence[Any]
"""Ids of users or items by position, in any type."""


class DatasetBuilder(Protocol):
    """What builds a dataset from a frame of interactions, such as ``rectools.dataset.Dataset``."""

    def construct(self, interactions_df: "pd.DataFrame") -> Any:
        """Dataset of a frame with ``INTERACTION_COLUMNS``."""


@dataclass(frozen=True, slots=True)
class SparseInteractions:
    """Sparse matrix of users and items, and whose rows and columns these are.

    Attributes:
        matrix: Compressed rows, shape (n_users, n_items).
        user_ids: Id of each row.
        item_ids: Id of each column.
    """

    matrix: "sparse.csr_array[Any, Any]"
    user_ids: list[Any]
    item_ids: list[Any]


def interaction_frame(interactions: Any) -> Frame:
    """Interactions with external ids as a frame of ``INTERACTION_COLUMNS``.

    Args:
        interactions: ``Dataset`` or ``Interactions`` of RecTools, or a data frame of their columns.
            ``Interactions`` alone know internal ids only, which then are the ids.

    Raises:
        ConfigError: It is none of these.
    """
    id_maps: list[Any] = [
        getattr(interactions, f"{kind}_id_map", None) for kind in ("user", "item")
    ]
    held_interactions = getattr(interactions, "interactions", interactions)
    held_frame = getattr(held_interactions, "df", held_interactions)
    try:
        missing_columns = set(INTERACTION_COLUMNS) - set(column_names(held_frame))
    except ConfigError as error:
        raise ConfigError(
            "Interactions are a Dataset or Interactions of RecTools, or a data frame",
            received=type(interactions),
            way_out=f"Pass a frame with the columns {', '.join(INTERACTION_COLUMNS)}",
        ) from error
    if missing_columns:
        raise ConfigError(
            f"Interactions lack the columns {', '.join(sorted(missing_columns))}",
            received=", ".join(column_names(held_frame)),
            way_out="Rename them, or use Log.from_frame, which takes any names",
        )
    if None in id_maps:
        return held_frame  # type: ignore[no-any-return]
    external_ids = {
        column: np.asarray(id_map.external_ids)[held_frame[column].to_numpy()]
        for column, id_map in zip((USER, ITEM), id_maps, strict=True)
    }
    return held_frame.assign(**external_ids)  # type: ignore[no-any-return]


def events_frame(
    event_log: EventLog, item_catalog: Catalog, id_types: Mapping[str, pa.DataType]
) -> "pd.DataFrame":
    """Events as a frame of ``INTERACTION_COLUMNS``, by user and time.

    Args:
        event_log: The events.
        item_catalog: Their ids.
        id_types: Types of the ids in the user's frame.

    Returns:
        Ids in the type of the user's frame, weight (1 where the value is unknown), and UTC
        without a zone.
    """
    import pandas as pd

    user_ids = np.array(_external_ids(item_catalog.users, id_types.get(c.USER_ID)))
    item_ids = np.array(_external_ids(item_catalog.items, id_types.get(c.ITEM_ID)))
    weights = np.where(np.isnan(event_log.value), 1.0, event_log.value)
    return pd.DataFrame(
        {
            USER: user_ids[event_log.user_idx - 1],
            ITEM: item_ids[event_log.item_idx - 1],
            WEIGHT: weights.astype(np.float64),
            DATETIME: event_log.occurred_s.astype("datetime64[s]").astype("datetime64[ns]"),
        }
    )


def events_matrix(
    event_log: EventLog,
    item_catalog: Catalog,
    id_types: Mapping[str, pa.DataType],
    *,
    weighted: bool,
) -> SparseInteractions:
    """Events summed by user and item.

    Args:
        event_log: The events.
        item_catalog: Their ids.
        id_types: Types of the ids in the user's frame.
        weighted: Whether values are summed, 1 where one is unknown; else events are counted.
    """
    from scipy import sparse

    event_weights = np.ones(len(event_log))
    if weighted:
        event_weights = np.where(np.isnan(event_log.value), 1.0, event_log.value)
    n_users, n_items = len(item_catalog.users.ids), len(item_catalog.items.ids)
    positions = (event_log.user_idx - 1, event_log.item_idx - 1)
    matrix = sparse.csr_array((event_weights, positions), shape=(n_users, n_items))
    return SparseInteractions(
        matrix,
        _external_ids(item_catalog.users, id_types.get(c.USER_ID)),
        _external_ids(item_catalog.items, id_types.get(c.ITEM_ID)),
    )


def matrix_frame(
    matrix: Any, times: Any, *, user_ids: Ids | None, item_ids: Ids | None, time_zone: str | None
) -> pa.Table:
    """Stored entries of a matrix of users and items as a frame of ``INTERACTION_COLUMNS``.

    Args:
        matrix: Sparse matrix of SciPy, shape (n_users, n_items); a stored zero is no event.
        times: Time of all events, or a sparse matrix with the UTC seconds of each entry.
        user_ids: Id of each row; None numbers them from 0.
        item_ids: Id of each column; None numbers them from 0.
        time_zone: Zone of a time without an offset; None is UTC.

    Raises:
        ConfigError: It is no sparse matrix, or ids or times do not fit it.
        NotEnoughData: It has no entry.
    """
    entries = _entries(matrix, "matrix")
    if not entries.nnz:
        raise NotEnoughData("The matrix has no entry", received=f"shape {matrix.shape}")
    row_ids = _axis_ids(user_ids, matrix.shape[0], "user_ids", "rows")
    column_ids = _axis_ids(item_ids, matrix.shape[1], "item_ids", "columns")
    occurred_s = _entry_times(entries, times, time_zone)
    instants = pa.array(occurred_s * MICROS_PER_S, pa.timestamp("us", "UTC"))
    return pa.table(
        {
            USER: row_ids.take(pa.array(entries.row)),
            ITEM: column_ids.take(pa.array(entries.col)),
            WEIGHT: pa.array(entries.data.astype(np.float64)),
            DATETIME: instants,
        }
    )


def _external_ids(id_map: IdMap, id_type: pa.DataType | None) -> list[Any]:
    return restored_ids(id_map.ids.to_pylist(), id_type)


def _entries(matrix: Any, subject: str) -> "sparse.coo_array[Any, Any]":
    """Entries other than zero, by row and column, equal positions summed."""
    from scipy import sparse

    if not sparse.issparse(matrix) or matrix.ndim != 2:
        raise ConfigError(
            f"The {subject} must be a sparse matrix of SciPy with two axes",
            received=type(matrix),
            way_out="Wrap it, as with scipy.sparse.csr_array(dense)",
        )
    rows = sparse.csr_array(matrix, copy=True)
    rows.sum_duplicates()
    rows.eliminate_zeros()
    return rows.tocoo()


def _axis_ids(given_ids: Ids | None, n_positions: int, parameter: str, axis: str) -> pa.Array:
    if given_ids is None:
        return pa.array(np.arange(n_positions))
    if len(given_ids) != n_positions:
        raise ConfigError(
            f"{parameter} must have an id for each of the {n_positions:,} {axis}",
            received=f"{len(given_ids):,} ids",
        )
    try:
        return pa.array(given_ids)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ConfigError(
            f"{parameter} must be of one type", received=error, way_out="Convert them to texts"
        ) from error


def _entry_times(entries: Any, times: Any, time_zone: str | None) -> "np.ndarray[Any, Any]":
    """UTC seconds of each entry, shape (n_entries,)."""
    if isinstance(times, str | datetime | np.datetime64) or hasattr(times, "to_pydatetime"):
        moment_s = int(to_moment(times, time_zone or "UTC").timestamp())
        return np.full(entries.nnz, moment_s, np.int64)
    time_entries = _entries(times, "matrix of times")
    is_equal = time_entries.shape == entries.shape and time_entries.nnz == entries.nnz
    if not is_equal or not (
        np.array_equal(time_entries.row, entries.row)
        and np.array_equal(time_entries.col, entries.col)
    ):
        raise ConfigError(
            "The matrix of times must have the entries of the matrix",
            received=f"{time_entries.nnz:,} times of shape {time_entries.shape}, "
            f"{entries.nnz:,} entries of shape {entries.shape}",
        )
    return time_entries.data.astype(np.int64)  # type: ignore[no-any-return]
