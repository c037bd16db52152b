"""Point-in-time statistics of events: one SQL text, for a whole log and for one user."""

from typing import Final

import duckdb
import pyarrow as pa

from chronotope.contracts import columns as c
from chronotope.contracts.errors import NotEnoughData, SchemaError
from chronotope.contracts.schemas import EVENTS, REQUIRED
from chronotope.spacetime.distances import EARTH_RADIUS_KM

_SOURCE: Final = """
CREATE VIEW ev AS
SELECT event_id, user_id, item_id, place_id, session_id, category,
       epoch_us(occurred_at) AS us,
       epoch_us(occurred_at) // 1000000 + 60 * coalesce(utc_offset_min, 0) AS local_s,
       CASE WHEN isfinite(lat) AND isfinite(lon) THEN lat END AS lat,
       CASE WHEN isfinite(lat) AND isfinite(lon) THEN lon END AS lon
FROM (FROM source UNION ALL BY NAME FROM empty_events);
"""

STATISTICS: Final = """
WITH baskets AS (
    SELECT user_id, us,
           arg_max(lat, event_id) AS lat,  -- ignores nulls
           arg_max(lon, event_id) AS lon
    FROM ev GROUP BY user_id, us
),
previous AS (
    SELECT user_id, us, lag(us) OVER w AS last_us, lag(lat) OVER w AS last_lat,
           lag(lon) OVER w AS last_lon
    FROM baskets WINDOW w AS (PARTITION BY user_id ORDER BY us)
),
moved AS (
    SELECT ev.*, (us - last_us) / 3.6e9 AS gap_h,
           sin(radians(lat - last_lat) / 2) ** 2
               + cos(radians(last_lat)) * cos(radians(lat))
                 * sin(radians(lon - last_lon) / 2) ** 2 AS chord
    FROM ev JOIN previous USING (user_id, us)
),
located AS (
    SELECT *, 2 * $radius * asin(sqrt(CASE WHEN chord > 1 THEN 1 ELSE chord END)) AS distance_km
    FROM moved
)
SELECT event_id,
       local_s % 86400 / 3600.0 AS local_hour,
       ((local_s // 3600 + 72) % 168)::INTEGER AS hour_of_week,
       gap_h,
       distance_km,
       distance_km / gap_h AS speed_km_h,
       CASE WHEN session_id IS NOT NULL THEN rank() OVER in_session - 1 END AS session_position,
       rank() OVER of_user - 1 AS n_user,
       rank() OVER of_item - 1 AS n_user_item,
       CASE WHEN place_id IS NOT NULL THEN rank() OVER of_place - 1 END AS n_user_place,
       CASE WHEN category IS NOT NULL THEN rank() OVER of_category - 1 END AS n_user_category
FROM located
WINDOW
    of_user AS (PARTITION BY user_id ORDER BY us),
    in_session AS (PARTITION BY user_id, session_id ORDER BY us),
    of_item AS (PARTITION BY user_id, item_id ORDER BY us),
    of_place AS (PARTITION BY user_id, place_id ORDER BY us),
    of_category AS (PARTITION BY user_id, category ORDER BY us)
ORDER BY user_id, us, event_id
"""
"""A rank less one counts what was strictly earlier, so a basket never sees itself."""


def offline_statistics(events: pa.Table) -> pa.Table:
    """Statistics of every event, each from what its user did before its basket.

    Args:
        events: Columns of ``EVENTS``, optional ones may be missing; ``category`` too if
            it is known.

    Returns:
        One row an event, ordered by user, time and event id: ``event_id``,
        ``local_hour`` in [0, 24), ``hour_of_week`` (0 is Monday midnight), ``gap_h``,
        ``distance_km`` and ``speed_km_h`` from the user's previous instant (null at the
        first, distances also without coordinates), ``session_position`` (events before
        in the session), and how many events the user had before: ``n_user`` at all,
        ``n_user_item``, ``n_user_place`` and ``n_user_category`` with the event's own
        item, place and category. What does not apply is null.

    Raises:
        SchemaError: A required column is missing.
    """
    missing = [name for name in REQUIRED if name not in events.column_names]
    if missing:
        raise SchemaError(f"Events lack the columns {missing}", received=events.column_names)
    empty = pa.schema([*EVENTS, (c.CATEGORY, pa.string())]).empty_table()
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        con.register("source", events)
        con.register("empty_events", empty)
        con.execute(_SOURCE)
        result = con.sql(STATISTICS, params={"radius": EARTH_RADIUS_KM})
        return result.to_arrow_table()


def online_statistics(history: pa.Table) -> dict[str, object]:
    """Statistics of the latest event of one user, by the same SQL as ``offline_statistics``.

    Args:
        history: The user's events in any order, the one asked about included.

    Returns:
        The row of the latest event; of several at that instant, the one with the
        greatest event id.

    Raises:
        NotEnoughData: The history is empty.
        SchemaError: It is of more than one user or lacks a required column.
    """
    rows = offline_statistics(history)
    if len(rows) == 0:
        raise NotEnoughData(
            "There is no event to describe", way_out="Pass the event asked about as well"
        )
    n_users = len(history.column(c.USER_ID).unique())
    if n_users > 1:
        raise SchemaError("A history must be of one user", received=f"{n_users} users")
    latest: dict[str, object] = rows.slice(len(rows) - 1).to_pylist()[0]
    return latest
