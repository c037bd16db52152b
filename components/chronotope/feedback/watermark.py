"""Watermarks of feedback intake and of retraining."""

import hashlib
from datetime import datetime
from pathlib import Path
from typing import Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from chronotope.contracts.data_version import TableVersionText
from chronotope.contracts.errors import StoreError
from chronotope.feedback.retrain_results import RetrainPlan
from chronotope.runtime.durable_files import read_json, write_json

_WHAT: Final = "The watermark of the feedback"
_WAY_OUT: Final = "Delete it: all is read again, and the lake knows what it has"


class InboxRange(BaseModel):
    """A delivery of the inbox: whole lines of one file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str = Field(description="Name of the file")
    start: int = Field(ge=0, description="Bytes of the file before it")
    end: int = Field(ge=0, description="Bytes of the file up to its end")
    digest: str = Field(description="Digest of the file up to its end")


class TablePosition(BaseModel):
    """Read position in a table."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    since: int | float | str | None = Field(
        None, description="Value of the growing column from which rows are looked at again"
    )
    seen: tuple[str, ...] = Field((), description="Digests of the rows taken in from there on")


class Watermark(BaseModel):
    """Watermark of a dataset. Everything at or below it lies in the lake or in quarantine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seq: int = Field(0, ge=0, description="Last interaction of the log that was taken in")
    upto: int = Field(0, ge=0, description="End of the delivery being taken in, if beyond seq")
    files: dict[str, str] = Field(
        default_factory=dict, description="Digest of what was taken in of each file of the inbox"
    )
    sizes: dict[str, int] = Field(
        default_factory=dict, description="Bytes taken in of each file, from its beginning"
    )
    begun: InboxRange | None = Field(
        None, description="Delivery of the inbox that is being taken in, so that it stays the same"
    )
    table: TablePosition = Field(
        TablePosition(), description="How far the dataset's table was read"
    )
    log: int | None = Field(None, description="Identity of the log that seq and upto count in")
    events: TableVersionText | None = Field(
        None, description="Version of the lake's events after the last delivery"
    )
    learned_version: TableVersionText | None = Field(
        None,
        description="Version of the events that the last finished retraining weighed: its "
        "latest segment was the holdout and trains the next one",
    )
    learned_at: datetime | None = Field(None, description="When that retraining had finished")
    retraining: RetrainPlan | None = Field(
        None, description="Decision whose retraining has begun and has not finished"
    )

    def over(self, log: int) -> Self:
        """The same for a log: from its beginning if the positions are another log's.

        Args:
            log: Identity of the log.
        """
        log_positions = {} if self.log in (None, log) else {"seq": 0, "upto": 0}
        return self.model_copy(update={**log_positions, "log": log})


def read_watermark(file_path: Path) -> Watermark:
    """The watermark; the beginning of everything if there is none.

    Raises:
        StoreError: The file is damaged.
    """
    if not file_path.exists():
        return Watermark()
    stored_content = read_json(file_path, subject=_WHAT, way_out=_WAY_OUT)
    try:
        return Watermark.model_validate(stored_content)
    except ValidationError as error:
        raise StoreError(
            f"{_WHAT} cannot be read", received=f"{file_path}: {error}", way_out=_WAY_OUT
        ) from error


def write_watermark(file_path: Path, watermark: Watermark) -> None:
    """Write a watermark atomically and durably."""
    write_json(file_path, watermark.model_dump(mode="json"))


def file_digest(file_path: Path) -> str:
    """Short digest of a file."""
    with file_path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
