"""SQL of a bucket's tables, and of the tables that are joined from those of all buckets."""

from typing import Final

BUCKET_ITEM_PLACES: Final = """
CREATE TEMP TABLE places AS SELECT id, idx FROM items;
CREATE VIEW ev_place AS SELECT *, item_id AS at_place FROM ev;
"""
"""Places of a bucket in which the item is the place."""

BUCKET_EVENT_PLACES: Final = """
CREATE TEMP TABLE places AS
    SELECT id, row_number() OVER (ORDER BY id) AS idx
    FROM (SELECT DISTINCT place_id AS id FROM ev WHERE place_id IS NOT NULL);
CREATE VIEW ev_place AS SELECT *, place_id AS at_place FROM ev;
"""
"""Places of a bucket in which events have a place besides the item."""

USERS: Final = """
SELECT $bucket::INTEGER AS bucket, users.id, n_events, coalesce(n_sessions, 0) AS n_sessions
FROM users
JOIN (SELECT user_id AS id, count(*) AS n_events FROM ev GROUP BY user_id) USING (id)
LEFT JOIN (SELECT user_id AS id, count(*) AS n_sessions FROM sessions GROUP BY user_id) USING (id)
ORDER BY users.idx
"""
"""Users of a bucket with the numbers of their events and sessions."""

ITEMS: Final = "SELECT $bucket::INTEGER AS bucket, idx AS bucket_idx, id FROM items ORDER BY idx"
"""Items of a bucket."""

PLACES: Final = "SELECT $bucket::INTEGER AS bucket, idx AS bucket_idx, id FROM places ORDER BY idx"
"""Places of a bucket."""

ITEM_COUNTS: Final = """
SELECT (hash(id) % $n_parts)::INTEGER AS part, *
FROM (SELECT false AS is_place, item_id AS id, lat, lon, category, count(*) AS n_events
      FROM ev WHERE lat IS NOT NULL OR category IS NOT NULL
      GROUP BY item_id, lat, lon, category)
"""
"""Number of events of each item at each position and of each category."""

PLACE_COUNTS: Final = """
UNION ALL
SELECT (hash(id) % $n_parts)::INTEGER AS part, *
FROM (SELECT true AS is_place, place_id AS id, lat, lon, NULL AS category, count(*) AS n_events
      FROM ev WHERE place_id IS NOT NULL AND lat IS NOT NULL GROUP BY place_id, lat, lon)
"""
"""Number of events of each place at each position, appended to ``ITEM_COUNTS``."""

STATISTICS: Final = """
WITH counts AS MATERIALIZED (
    SELECT is_place, id, lat, lon, category, sum(n_events)::BIGINT AS n_events
    FROM read_parquet($count_files) WHERE part BETWEEN $first_part AND $last_part
    GROUP BY ALL
),
axes AS (
    SELECT is_place, id, 'lat' AS axis, lat AS degrees, sum(n_events)::BIGINT AS n_events
    FROM counts WHERE lat IS NOT NULL GROUP BY ALL
    UNION ALL
    SELECT is_place, id, 'lon' AS axis, lon AS degrees, sum(n_events)::BIGINT AS n_events
    FROM counts WHERE lon IS NOT NULL GROUP BY ALL
),
ranked AS (
    SELECT *, sum(n_events) OVER (PARTITION BY is_place, id, axis ORDER BY degrees) AS n_up_to,
           sum(n_events) OVER (PARTITION BY is_place, id, axis) AS n_all
    FROM axes
),
middle AS (
    FROM ranked WHERE n_up_to > (n_all - 1) // 2 AND n_up_to - n_events <= n_all // 2
),
positions AS (
    SELECT is_place, id, median(degrees) FILTER (axis = 'lat') AS lat,
           median(degrees) FILTER (axis = 'lon') AS lon
    FROM middle GROUP BY is_place, id
),
labels AS (
    SELECT is_place, id, category, sum(n_events) AS n_events
    FROM counts WHERE category IS NOT NULL GROUP BY ALL
),
frequent AS (
    SELECT is_place, id, category FROM labels
    QUALIFY row_number() OVER (PARTITION BY is_place, id ORDER BY n_events DESC, category) = 1
)
SELECT is_place, id, lat, lon, category FROM positions FULL JOIN frequent USING (is_place, id)
"""
"""Median position and most frequent category of the items and places of some parts.

The median of all events is that of the one or two distinct values in their middle.
"""

JOINED_IDS: Final = """
CREATE TEMP TABLE users AS
    SELECT id, row_number() OVER (ORDER BY id) AS idx, bucket, n_events, n_sessions
    FROM bucket_users;
CREATE TEMP TABLE items AS
    SELECT id, row_number() OVER (ORDER BY id) AS idx
    FROM (SELECT id FROM bucket_items UNION SELECT id FROM content_ids);
CREATE VIEW item_event_stats AS
    SELECT id, lat, lon, category FROM statistics WHERE NOT is_place;
"""
"""Indices from 1 of users and items of all buckets, and what the events say of the items."""

JOINED_ITEM_PLACES: Final = """
CREATE TEMP TABLE places AS SELECT id, idx, lat, lon FROM item_attributes;
"""
"""Places of all buckets in which the item is the place."""

JOINED_EVENT_PLACES: Final = """
CREATE TEMP TABLE places AS
    SELECT id, row_number() OVER (ORDER BY id) AS idx, lat, lon
    FROM (SELECT DISTINCT id FROM bucket_places)
    LEFT JOIN (SELECT id, lat, lon FROM statistics WHERE is_place) USING (id);
"""
"""Places of all buckets in which events have a place besides the item."""

USER_RUNS: Final = """
SELECT bucket, n_events, n_sessions FROM users ORDER BY idx
"""
"""Runs of rows of the joined log: each user's events are one, in one bucket."""

INDEX_MAPS: Final = {
    "items": "SELECT bucket, bucket_idx, items.idx FROM bucket_items JOIN items USING (id)",
    "places": "SELECT bucket, bucket_idx, places.idx FROM bucket_places JOIN places USING (id)",
}
"""Joined index of each index of a bucket."""
