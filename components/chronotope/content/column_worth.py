"""Worth of a column of the item context, and its file in a run."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ColumnWorth:
    """What is lost without a column, with 95 % intervals over users.

    The reciprocal rank tells the worth for the top of a list, and needs many targets; the log of
    the probability of the target, in nats, tells that of all scores, and needs few.

    Attributes:
        name: Name of the column.
        value, low, high: Reciprocal rank at all targets.
        new_value, new_low, new_high: The same at discoveries, among the items that are new to
            the user.
        log_value, log_low, log_high: Log of the probability of the target, at all targets.
        new_log_value, new_log_low, new_log_high: The same at discoveries, among the new items.
    """

    name: str
    value: float
    low: float
    high: float
    new_value: float
    new_low: float
    new_high: float
    log_value: float = 0.0
    log_low: float = 0.0
    log_high: float = 0.0
    new_log_value: float = 0.0
    new_log_low: float = 0.0
    new_log_high: float = 0.0

    @property
    def helps(self) -> bool:
        """Whether one interval lies above zero and none below it."""
        lowest = (self.low, self.new_low, self.log_low, self.new_log_low)
        highest = (self.high, self.new_high, self.log_high, self.new_log_high)
        return max(lowest) > 0 and min(highest) >= 0


def save_worth(worth: tuple[ColumnWorth, ...], path: Path) -> None:
    """Write the worth of the columns as JSON."""
    # an object, as all JSON files of a run
    content = {"columns": [asdict(column) for column in worth]}
    path.write_text(json.dumps(content), encoding="utf-8")


def read_worth(path: Path) -> tuple[ColumnWorth, ...]:
    """What ``save_worth`` wrote; nothing if it did not."""
    if not path.is_file():
        return ()
    content = json.loads(path.read_text(encoding="utf-8"))
    return tuple(ColumnWorth(**column) for column in content["columns"])
