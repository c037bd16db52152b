"""Waits of a log: hours from each basket of a user to the next, split by time."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from benchmarks.data_sets import data_root, data_set_dir
from benchmarks.next_place import read_stream
from benchmarks.peers.data import read_dataset
from benchmarks.transfer.logs import READERS
from chronotope.contracts.event_log import Catalog, EventLog, Float64, Int64
from chronotope.features.snapshot import load_features
from chronotope.metrics.time_calibration import SHORTEST_H

PROTOCOLS: Final = ("global", "stream", "session")
LATER_SHARE: Final = 0.1
DAY_H: Final = 24.0


@dataclass(frozen=True, slots=True)
class TimedLog:
    """A log with its sessions and base.

    Attributes:
        log: All events.
        catalog: Its catalogue.
        base: Training events of the protocols stream and session; None: only global.
        resolution_h: Hours between two times that the log tells apart; 0: seconds.
    """

    log: EventLog
    catalog: Catalog
    base: EventLog | None = None
    resolution_h: float = 0.0


@dataclass(frozen=True, slots=True)
class DataSetRules:
    """Rules of a data set.

    Attributes:
        n_users: Number of randomly drawn users; None takes all.
        resolution_h: Hours between two times that the log tells apart; 0: seconds.
    """

    n_users: int | None = None
    resolution_h: float = 0.0


DATA_SETS: Final[dict[str, DataSetRules]] = {
    "foursquare_nyc": DataSetRules(),
    "complete_journey": DataSetRules(n_users=800),
    "hospital": DataSetRules(resolution_h=DAY_H),
    "card_payments": DataSetRules(n_users=300),
    "oulad_slice": DataSetRules(resolution_h=DAY_H),
}


@dataclass(frozen=True, slots=True)
class Waits:
    """Waits of a log, split into training, selection and test.

    Attributes:
        source: The log they come from.
        positions: Position of each target in the log, the first event of its basket, shape (n,).
        hours: Wait of each, shape (n,).
        train, later, test: Rows of training, of the selection of the epoch, and of the test.
        still_open: Rows whose wait had begun but not ended when training ends.
        waited: Hours waited by then, shape of ``still_open``.
        train_until_s: End of the training, UTC seconds.
    """

    source: TimedLog
    positions: Int64
    hours: Float64
    train: Int64
    later: Int64
    test: Int64
    still_open: Int64
    waited: Float64
    train_until_s: float

    @property
    def user_idx(self) -> npt.NDArray[np.int32]:
        """User of each wait, shape (n,)."""
        return self.source.log.user_idx[self.positions]

    @property
    def half_width_h(self) -> float:
        """Half of the time that the log does not resolve, in hours."""
        return self.source.resolution_h / 2


def read_timed_log(name: str, data: Path | None, work: Path, seed: int) -> TimedLog:
    """Log of a data set, of the sample of users that its rules state.

    Args:
        name: A key of ``DATA_SETS``.
        data: Folder of the data sets.
        work: Folder of numeric snapshots.
        seed: Seed of the sample of users.

    Raises:
        SourceError: The files of the data set are missing.
    """
    rules = DATA_SETS[name]
    if name == "foursquare_nyc":
        stream = read_stream(data_set_dir(name, data))
        return TimedLog(stream.log, stream.catalog, stream.base)
    if name in READERS:
        log, catalog = READERS[name](data_set_dir(name, data))
    else:
        log, catalog = load_features(read_dataset(name, data_root(data), work / name, 1))
    return TimedLog(draw_users(log, rules.n_users, seed), catalog, None, rules.resolution_h)


def draw_users(log: EventLog, n_users: int | None, seed: int) -> EventLog:
    """Log of randomly drawn users; of all if ``n_users`` is None."""
    users = np.unique(log.user_idx)
    if n_users is None or n_users >= len(users):
        return log
    drawn = np.random.default_rng(seed).choice(users, n_users, replace=False)
    return log.take(np.isin(log.user_idx, drawn))


def split_waits(source: TimedLog, protocol: str) -> Waits:
    """The waits of a protocol, in the order of the log.

    - global: waits that end in the first 80 % of the events are training data, the next tenth
      selects, the last tenth is the test set;
    - stream: the same with the base (its last tenth selects), tested on all later sessions;
    - session: stream, but only waits inside a session.
    """
    log = source.log
    basket_start = log.basket_start()
    is_first = basket_start == np.arange(len(log))
    positions = np.flatnonzero(is_first & (basket_start > log.user_start()))
    if protocol == "session":
        is_inside = log.session_idx[positions] == log.session_idx[positions - 1]
        positions = positions[is_inside]
    ended_s = log.occurred_s[positions]
    if source.base is None or protocol == "global":
        first_s, last_s = np.quantile(log.occurred_s, [1 - 2 * LATER_SHARE, 1 - LATER_SHARE])
        is_test = ended_s > last_s
    else:
        first_s = np.quantile(source.base.occurred_s, 1 - LATER_SHARE)
        is_test = ~np.isin(log.session_idx[positions], source.base.session_idx)
    is_train = ~is_test & (ended_s <= first_s)
    began_s = log.occurred_s[positions - 1]
    is_open = ~is_train & (began_s <= first_s) & (protocol != "session")
    masks = (is_train, ~is_test & ~is_train, is_test, is_open)
    train, later, test, still_open = (np.flatnonzero(mask) for mask in masks)
    return Waits(
        source=source,
        positions=positions,
        hours=np.maximum((ended_s - began_s) / 3600.0, SHORTEST_H),
        train=train,
        later=later,
        test=test,
        still_open=still_open,
        waited=(first_s - began_s[still_open]) / 3600.0,
        train_until_s=float(first_s),
    )


def dequantized_hours(waits: Waits, seed: int) -> Float64:
    """Waits with uniform noise over the time that the log does not resolve, shape (n,).

    A density that is trained on whole days grows without limit at them.
    """
    width = waits.half_width_h
    noise = np.random.default_rng(seed).uniform(-width, width, len(waits.hours))
    return np.maximum(waits.hours + noise, SHORTEST_H)


Reader = Callable[[str, Path | None, Path, int], TimedLog]
