"""Counts and sums over windows of time that end at each event, of one key such as a user or item.

Nothing loops over events: events lie in order of (key, time), the start of a window is found by a
binary search over all events at once, and sums are differences of a running sum.
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from chronotope.contracts.event_log import Float64, Int64

Integers = npt.NDArray[np.integer]


@dataclass(frozen=True, slots=True)
class KeyedEvents:
    """Events in the order of (key, time, position); results are in the order of the caller.

    Attributes:
        order: Position in the caller's order of each ordered event, shape (n,).
        time_code: Increasing number of key and time, shape (n,).
        key_start: Ordered position of the first event of the same key, shape (n,).
        window_edges: Ordered positions by (seconds before each event, side of the binary search),
            computed once: several sums share a window, and the searches cost the most.
    """

    order: Int64
    time_code: Int64
    key_start: Int64
    window_edges: dict[tuple[int, str], Int64] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @classmethod
    def by(cls, key: Integers, occurred_s: Int64) -> "KeyedEvents":
        """Order events by a key.

        Args:
            key: Key of each event, at least 0, shape (n,).
            occurred_s: UTC seconds, shape (n,).
        """
        origin_s = int(occurred_s.min(initial=0)) if not len(occurred_s) else int(occurred_s.min())
        age_s = occurred_s - origin_s
        n_code_seconds = int(age_s.max(initial=0)) + 1
        time_code = key.astype(np.int64) * n_code_seconds + age_s
        order = np.argsort(time_code, kind="stable").astype(np.int64)
        ordered_key = key[order]
        is_first = np.ones(len(order), dtype=np.bool_)
        is_first[1:] = ordered_key[1:] != ordered_key[:-1]
        key_start = np.maximum.accumulate(np.where(is_first, np.arange(len(order)), 0))
        return cls(order, time_code[order], key_start)

    def __len__(self) -> int:
        """Number of events."""
        return len(self.order)

    def n_before(self) -> Int64:
        """Number of earlier events of the key, in the caller's order, shape (n,)."""
        return self._restored(np.arange(len(self)) - self.key_start)

    def seconds_since_last(self) -> Float64:
        """Seconds since the previous event of the key; NaN for the first, shape (n,)."""
        gap_s = np.full(len(self), np.nan)
        gap_s[1:] = np.diff(self.time_code)
        gap_s[self.key_start == np.arange(len(self))] = np.nan
        return self._restored(gap_s)

    def previous(self, values: Float64) -> Float64:
        """Value of the previous event of the key; NaN for the first, shape (n,).

        Args:
            values: Value of each event in the caller's order, shape (n,).
        """
        ordered_values = values[self.order]
        shifted = np.full(len(self), np.nan)
        shifted[1:] = ordered_values[:-1]
        shifted[self.key_start == np.arange(len(self))] = np.nan
        return self._restored(shifted)

    def sum_before(self, values: Float64, window_s: int | None = None) -> Float64:
        """Sum over the earlier events of the key within a window, shape (n,).

        Args:
            values: Value of each event in the caller's order, shape (n,).
            window_s: Seconds; None takes all earlier events.
        """
        running_sum = np.concatenate([[0.0], np.cumsum(values[self.order])])
        start_position = self.key_start if window_s is None else self._window_start(window_s)
        return self._restored(running_sum[np.arange(len(self))] - running_sum[start_position])

    def count_before(self, window_s: int) -> Int64:
        """Number of earlier events of the key within a window, shape (n,)."""
        return self._restored(np.arange(len(self)) - self._window_start(window_s))

    def sum_until(self, values: Float64, *, delay_s: int, window_s: int) -> Float64:
        """Sum over events of the key that are at least ``delay_s`` old, over ``window_s`` before.

        Args:
            values: Value of each event in the caller's order, shape (n,).
            delay_s: Seconds after which a value is known.
            window_s: Length of the window that ends then.
        """
        running_sum = np.concatenate([[0.0], np.cumsum(values[self.order])])
        end_position = self._edge(delay_s, side="right")
        start_position = self._edge(delay_s + window_s, side="right")
        return self._restored(running_sum[end_position] - running_sum[start_position])

    def latest_mean(self, values: Float64, *, delay_s: int, n_events: int) -> Float64:
        """Mean of the latest events that are at least ``delay_s`` old; 0 without any.

        Args:
            values: Value of each event in the caller's order, shape (n,).
            delay_s: Seconds after which a value is known.
            n_events: Number of events.
        """
        running_sum = np.concatenate([[0.0], np.cumsum(values[self.order])])
        known_end = self._edge(delay_s, side="right")
        end_position = np.minimum(known_end, np.arange(1, len(self) + 1))  # none at the same second
        start_position = np.maximum(end_position - n_events, self.key_start)
        return self._restored(
            (running_sum[end_position] - running_sum[start_position])
            / np.maximum(end_position - start_position, 1)
        )

    def oldest_age_s(
        self, is_marked: npt.NDArray[np.bool_], *, delay_s: int, window_s: int
    ) -> Float64:
        """Age of the oldest marked event of the key in a window, arguments as of ``sum_until``.

        Returns:
            Seconds, shape (n,); 0 if the window holds no marked event.
        """
        n_events, position = len(self), np.arange(len(self))
        next_marked = np.where(is_marked[self.order], position, n_events)
        next_marked = np.append(np.minimum.accumulate(next_marked[::-1])[::-1], n_events)
        end_position = self._edge(delay_s, side="right")
        start_position = self._edge(delay_s + window_s, side="right")
        oldest_position = next_marked[start_position]
        age_s = self.time_code - self.time_code[np.minimum(oldest_position, n_events - 1)]
        return self._restored(np.where(oldest_position < end_position, age_s, 0.0))

    def latest_rows(self, rows: Int64, n_events: int) -> Int64:
        """The latest events of the key up to each of some events, latest first.

        Args:
            rows: Positions in the caller's order, shape (n_rows,).
            n_events: Number of events, the event itself included.

        Returns:
            Positions in the caller's order, -1 where there is none, shape (n_rows, n_events).
        """
        ordered_row = self._restored(np.arange(len(self)))[rows]
        earlier = ordered_row[:, None] - np.arange(n_events)
        is_event = earlier >= self.key_start[ordered_row][:, None]
        return np.where(is_event, self.order[np.maximum(earlier, 0)], -1)

    def _window_start(self, window_s: int) -> Int64:
        """Ordered position of the first event of each window."""
        return self._edge(window_s, side="left")

    def _edge(self, age_s: int, side: Literal["left", "right"]) -> Int64:
        """Ordered positions of the times ``age_s`` before, not before the first of the key."""
        if (age_s, side) not in self.window_edges:
            edge_position = np.searchsorted(self.time_code, self.time_code - age_s, side=side)
            self.window_edges[age_s, side] = np.maximum(edge_position, self.key_start)
        return self.window_edges[age_s, side]

    def _restored(self, ordered_values: npt.NDArray[np.generic]) -> npt.NDArray:  # type: ignore[type-arg]
        """Values in the caller's order."""
        restored = np.empty_like(ordered_values)
        restored[self.order] = ordered_values
        return restored
