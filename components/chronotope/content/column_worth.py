"""Worth of a column of the item context, and its file in a run."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ColumnWorth:
    """Reciprocal rank that is lost without a column, with 95 % intervals over users.

    Attributes:
        name: Name of the column.
        value, low, high: At all targets.
        new_value, new_low, new_high: At discoveries, among the items that are new to the user.
    """

    name: str
    value: float
    low: float
    high: float
    new_value: float
    new_low: float
    new_high: float

    @property
    def helps(self) -> bool:
        """Whether one interval lies above zero and none below it."""
        is_above = self.low > 0 or self.new_low > 0
        return is_above and self.high >= 0 and self.new_high >= 0


def save_worth(worth: tuple[ColumnWorth, ...], path: Path) -> None:
    """Write the worth of the columns as JSON."""
    path.write_text(json.dumps([asdict(column) for column in worth]), encoding="utf-8")


def read_worth(path: Path) -> tuple[ColumnWorth, ...]:
    """What ``save_worth`` wrote; nothing if it did not."""
    if not path.is_file():
        return ()
    return tuple(ColumnWorth(**column) for column in json.loads(path.read_text(encoding="utf-8")))
