"""A log in which each purchase was promoted a moment before, or is promoted a moment later."""

from dataclasses import replace

import numpy as np
import pyarrow as pa

from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.contracts.ids import IdMap
from chronotope.contracts.item_context import ItemContext, ItemContextColumn

N_USERS, N_EVENTS, N_ITEMS, HOUR_S = 40, 40, 30, 3_600
COLUMNS = (
    ItemContextColumn(name="promo", first=1, levels=("a",), default="no"),
    ItemContextColumn(name="noise", first=2, levels=("x",), default="no"),
)


def log_of(delay_s: int) -> tuple[EventLog, Catalog]:
    """Random purchases, each promoted from ``delay_s`` after it on, for half an hour.

    With a negative delay the promotion is known when the purchase is predicted.
    """
    rng = np.random.default_rng(0)
    n = N_USERS * N_EVENTS
    users = np.repeat(np.arange(1, N_USERS + 1), N_EVENTS)
    # each user at another second, so that a promotion is that of one purchase
    seconds = np.tile(np.arange(1, N_EVENTS + 1) * HOUR_S, N_USERS) + users * 60
    items = rng.integers(1, N_ITEMS + 1, n)
    log = EventLog.sorted(user_idx=users, item_idx=items, occurred_s=seconds, place_idx=users)
    start = log.occurred_s + delay_s
    noise = rng.integers(1, N_ITEMS + 1, n).astype(np.int32)
    rows = [np.concatenate([values, values]) for values in (log.place_idx, start, start + 1_800)]
    levels = np.zeros((2 * n, 2), np.uint16)
    levels[:n, 0], levels[n:, 1] = 1, 2
    noise = np.where(noise == log.item_idx, noise % N_ITEMS + 1, noise).astype(np.int32)
    items_of_rows = np.concatenate([log.item_idx, noise])
    index = ItemContext.of_rows(COLUMNS, rows[0], rows[1], rows[2], items_of_rows, levels)
    ids = IdMap(pa.array([f"i{number}" for number in range(N_ITEMS)]))
    user_ids = IdMap(pa.array([f"u{number}" for number in range(N_USERS)]))
    nowhere = np.full(N_ITEMS + 1, np.nan)
    catalog = Catalog(
        users=user_ids,
        items=ids,
        places=user_ids,
        categories=IdMap(pa.array(["c"])),
        item_category=np.ones(N_ITEMS + 1, np.int32),
        item_lat=nowhere,
        item_lon=nowhere,
        place_lat=np.full(N_USERS + 1, np.nan),
        place_lon=np.full(N_USERS + 1, np.nan),
        item_context=COLUMNS,
    )
    return replace(log, item_context=index), catalog
