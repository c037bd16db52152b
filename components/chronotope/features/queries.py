"""SQL of a feature snapshot: statements in order, each reading the tables of earlier ones."""

from typing import Final

EVENT_SOURCE: Final = """
CREATE VIEW full_source AS FROM source UNION ALL BY NAME FROM empty_events;
"""
"""Events with all contract columns; columns that a source lacks are null."""

ITEM_SOURCE: Final = """
CREATE VIEW full_items AS
    SELECT DISTINCT ON (item_id) item_id, category, predicted_category, title, lat, lon,
           lat IS NOT NULL AND lon IS NOT NULL AND isfinite(lat) AND isfinite(lon) AS located
    FROM (FROM source_items UNION ALL BY NAME FROM empty_items)
    ORDER BY item_id, title, category;
"""
"""Items with all contract columns; columns that a source lacks are null."""

EVENTS: Final = """
CREATE TEMP TABLE ev AS
SELECT * EXCLUDE (occurred_at, lat, lon, place_id, session_id),
       epoch_us(occurred_at) AS occurred_us,
       CASE WHEN isfinite(lat) AND isfinite(lon) THEN lat END AS lat,
       CASE WHEN isfinite(lat) AND isfinite(lon) THEN lon END AS lon,
       nullif(place_id, '') AS place_id,
       nullif(session_id, '') AS session_id
FROM raw
WHERE len($types) = 0 OR event_type IN (FROM unnest($types));
"""
"""Events of the selected types, with empty texts and non-finite coordinates as null."""

IDS: Final = """
CREATE TEMP TABLE users AS
    SELECT id, row_number() OVER (ORDER BY id) AS idx
    FROM (SELECT DISTINCT user_id AS id FROM ev);
CREATE TEMP TABLE items AS
    SELECT id, row_number() OVER (ORDER BY id) AS idx
    FROM (SELECT item_id AS id FROM ev UNION SELECT id FROM content_ids);
CREATE TEMP TABLE sessions AS
    SELECT user_id, session_id, row_number() OVER (ORDER BY user_id, session_id) AS idx
    FROM (SELECT DISTINCT user_id, session_id FROM ev WHERE session_id IS NOT NULL);
"""
"""Indices from 1 of users, items and sessions, in the order of their ids."""

ITEM_STATISTICS: Final = """
CREATE TEMP TABLE item_event_stats AS
    SELECT item_id AS id, median(lat) AS lat, median(lon) AS lon,
           mode(category ORDER BY category) AS category
    FROM ev GROUP BY item_id;
"""
"""What the events say of their items."""

ITEM_ATTRIBUTES: Final = """
CREATE TEMP TABLE item_attributes AS
    SELECT items.id, items.idx,
           coalesce(k.category, item_event_stats.category, k.predicted_category) AS category,
           coalesce(k.title, '') AS title,
           CASE WHEN k.located THEN k.lat ELSE item_event_stats.lat END AS lat,
           CASE WHEN k.located THEN k.lon ELSE item_event_stats.lon END AS lon
    FROM items
    LEFT JOIN item_event_stats USING (id)
    LEFT JOIN full_items k ON k.item_id = items.id;
CREATE TEMP TABLE categories AS
    SELECT id, row_number() OVER (ORDER BY id) AS idx
    FROM (SELECT DISTINCT category AS id FROM item_attributes WHERE category IS NOT NULL);
"""
"""Attributes of the items, and indices from 1 of the categories, in the order of their ids."""

ITEM_PLACES: Final = """
CREATE TEMP TABLE places AS SELECT id, idx, lat, lon FROM item_attributes;
CREATE VIEW ev_place AS SELECT *, item_id AS at_place FROM ev;
"""
"""Places of a log in which the item is the place, as in check-in data."""

EVENT_PLACES: Final = """
CREATE TEMP TABLE places AS
    SELECT id, row_number() OVER (ORDER BY id) AS idx, lat, lon
    FROM (SELECT place_id AS id, median(lat) AS lat, median(lon) AS lon
          FROM ev WHERE place_id IS NOT NULL GROUP BY place_id);
CREATE VIEW ev_place AS SELECT *, place_id AS at_place FROM ev;
"""
"""Places of a log in which events have a place besides the item."""

SNAPSHOT_TABLES: Final = {
    "users": "SELECT id FROM users ORDER BY idx",
    "categories": "SELECT id FROM categories ORDER BY idx",
    "places": "SELECT id, lat, lon FROM places ORDER BY idx",
    "items": """
SELECT k.id, coalesce(g.idx, 0)::INTEGER AS category_idx, k.title, k.lat, k.lon
FROM item_attributes k LEFT JOIN categories g ON g.id = k.category
ORDER BY k.idx
""",
    "events": """
SELECT u.idx::INTEGER AS user_idx,
       i.idx::INTEGER AS item_idx,
       floor(e.occurred_us / 1e6)::BIGINT AS occurred_s,
       coalesce(e.utc_offset_min, 0)::INTEGER AS utc_offset_min,
       coalesce(p.idx, 0)::INTEGER AS place_idx,
       coalesce(s.idx, 0)::INTEGER AS session_idx,
       coalesce(e.value, 'nan')::FLOAT AS value,
       e.* EXCLUDE (event_id, user_id, item_id, event_type, occurred_us, utc_offset_min,
                    place_id, at_place, lat, lon, value, session_id, category),
       basket_context.* EXCLUDE (user_id, us)
FROM ev_place e
JOIN users u ON u.id = e.user_id
JOIN items i ON i.id = e.item_id
LEFT JOIN places p ON p.id = e.at_place
LEFT JOIN sessions s ON s.user_id = e.user_id AND s.session_id = e.session_id
LEFT JOIN basket_context
    ON basket_context.user_id = e.user_id AND basket_context.us = e.occurred_us
ORDER BY user_idx, e.occurred_us, e.event_id
""",
}
"""Query of each table of a snapshot, which becomes one file.

Events of the same user and instant are ordered by event id, so that the order does not depend
on that of the source.
"""
