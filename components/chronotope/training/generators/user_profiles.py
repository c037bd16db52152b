"""Who the users are: tempo, start, number of events and time zone of a new user.

Users are grouped into six classes of their tempo, the mean of the log of their gaps. Start and
number of events are drawn within a class from a joint histogram, so no user's own values are
copied.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from chronotope.contracts.event_log import EventLog, Float64, Int64

N_CLASSES: Final = 6
_START_BINS: Final = 8
_LENGTH_BINS: Final = 16


@dataclass(frozen=True, slots=True)
class Profile:
    """Draw of one new user.

    Attributes:
        tempo_class: Class of the gaps.
        start_s: First event, UTC seconds.
        n_events: Wanted number of events.
        utc_offset_min: Offset of local time, minutes.
    """

    tempo_class: int
    start_s: int
    n_events: int
    utc_offset_min: int


@dataclass(frozen=True, slots=True)
class UserPopulation:
    """Distributions of the users of a log.

    Attributes:
        class_share: Share of each class, shape (6,).
        start_edges: Edges of the bins of the first events, UTC seconds, shape (9,).
        length_edges: Edges of the bins of the log numbers of events, shape (17,).
        joint_share: Shares of both bins within a class, shape (6, 8, 16).
        offsets, offset_share: Time zones, minutes, and their shares, shape (n,).
        end_s: End of the log, UTC seconds.
    """

    class_share: Float64
    start_edges: Float64
    length_edges: Float64
    joint_share: Float64
    offsets: Int64
    offset_share: Float64
    end_s: int

    def draw(self, rng: np.random.Generator) -> Profile:
        """One new user."""
        tempo_class = int(rng.choice(len(self.class_share), p=self.class_share))
        shares = self.joint_share[tempo_class]
        start_bin, length_bin = divmod(int(rng.choice(shares.size, p=shares.ravel())), _LENGTH_BINS)
        start_s = rng.uniform(*self.start_edges[start_bin : start_bin + 2])
        log_length = rng.uniform(*self.length_edges[length_bin : length_bin + 2])
        offset = int(rng.choice(self.offsets, p=self.offset_share))
        return Profile(tempo_class, int(start_s), max(1, round(np.exp(log_length))), offset)


def tempo_classes(log: EventLog) -> Int64:
    """Class of each event's user, shape (n_events,)."""
    gap_s = np.diff(log.occurred_s, prepend=log.occurred_s[:1])
    gap_s[log.user_start() == np.arange(len(log))] = 0
    _, user_row = np.unique(log.user_idx, return_inverse=True)
    n_gaps = np.maximum(np.bincount(user_row, gap_s > 0), 1)
    mean_log_gap = np.bincount(user_row, np.log(np.maximum(gap_s, 1))) / n_gaps
    cuts = np.quantile(mean_log_gap, np.linspace(0, 1, N_CLASSES + 1)[1:-1])
    classes: Int64 = np.searchsorted(cuts, mean_log_gap, side="right")[user_row]
    return classes


def fit_profiles(log: EventLog, classes: Int64) -> UserPopulation:
    """Distributions of the users of a log.

    Args:
        log: The log.
        classes: Result of ``tempo_classes``.
    """
    is_first = log.user_start() == np.arange(len(log))
    first_s, user_class = log.occurred_s[is_first].astype(np.float64), classes[is_first]
    log_length = np.log(np.diff(np.append(np.flatnonzero(is_first), len(log))))
    end_s = int(log.occurred_s.max()) + 1
    start_edges = np.linspace(float(first_s.min()), end_s, _START_BINS + 1)
    length_edges = np.linspace(0.0, float(log_length.max()) + 1e-6, _LENGTH_BINS + 1)
    offsets, n_events = np.unique(log.utc_offset_min, return_counts=True)
    class_count = np.bincount(user_class, minlength=N_CLASSES)
    return UserPopulation(
        class_share=class_count / class_count.sum(),
        start_edges=start_edges,
        length_edges=length_edges,
        joint_share=_joint_shares(first_s, log_length, user_class, start_edges, length_edges),
        offsets=offsets.astype(np.int64),
        offset_share=n_events / n_events.sum(),
        end_s=end_s,
    )


def _joint_shares(
    first_s: Float64,
    log_length: Float64,
    user_class: Int64,
    start_edges: Float64,
    length_edges: Float64,
) -> Float64:
    """Joint histogram of each class, smoothed by that of all users, shape (6, 8, 16)."""
    bin_edges = (start_edges, length_edges)
    overall = np.histogram2d(first_s, log_length, bin_edges)[0] / len(first_s)
    event_counts = [
        np.histogram2d(first_s[user_class == idx], log_length[user_class == idx], bin_edges)[0]
        for idx in range(N_CLASSES)
    ]
    smoothed: Float64 = np.stack(event_counts) + overall
    shares: Float64 = smoothed / smoothed.sum(axis=(1, 2), keepdims=True)
    return shares
