"""Watermark of the feedback loop: positions of the intake and state of the retraining."""

import hashlib
from datetime import datetime
from pathlib import Path
from typing import Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from chronotope.contracts.data_version import TableVersionText
from chronotope.contracts.errors import StoreError
from chronotope.feedback.retrain_results import RetrainPlan
from chronotope.runtime.state import read_checked_document, read_document, write_checked_document

_SUBJECT: Final = "The watermark of the feedback"
_WAY_OUT: Final = "Delete it: all feedback is read again, and events in the lake are skipped"


class InboxRange(BaseModel):
    """Delivery of the inbox: a range of complete lines of one file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str = Field(description="Name of the file")
    start: int = Field(ge=0, description="Offset of its first byte in the file")
    end: int = Field(ge=0, description="Offset of its end in the file, exclusive")
    digest: str = Field(description="Digest of the first end bytes of the file")


class TablePosition(BaseModel):
    """Read position in the table of an SQL feed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    since: int | float | str | None = Field(
        None, description="Cursor value from which rows are read again"
    )
    seen: tuple[str, ...] = Field(
        (), description="Digests of the stored rows from that cursor value on"
    )


class Watermark(BaseModel):
    """Watermark of a dataset: feedback up to it is in the lake or in quarantine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seq: int = Field(
        0, ge=0, description="Position of the last stored interaction in the interaction log"
    )
    upto: int = Field(
        0, ge=0, description="End position of the delivery in progress, if larger than seq"
    )
    files: dict[str, str] = Field(
        default_factory=dict, description="Digest of the stored part of each inbox file"
    )
    sizes: dict[str, int] = Field(
        default_factory=dict, description="Size of the stored part of each inbox file, bytes"
    )
    begun: InboxRange | None = Field(
        None, description="Inbox delivery in progress, repeated unchanged after an interruption"
    )
    table: TablePosition = Field(
        TablePosition(), description="Read position in the table of the SQL feed"
    )
    log: int | None = Field(
        None, description="Identity of the interaction log to which seq and upto refer"
    )
    events: TableVersionText | None = Field(
        None, description="Version of the lake's events after the last delivery"
    )
    learned_version: TableVersionText | None = Field(
        None,
        description="Version of the events that the last finished retraining used; its latest "
        "segment was the holdout and is training data of the next one",
    )
    learned_at: datetime | None = Field(None, description="End of that retraining")
    retraining: RetrainPlan | None = Field(
        None, description="Plan of a retraining that has started and not ended"
    )

    def for_log(self, log: int) -> Self:
        """The watermark for an interaction log; its positions are reset if they are of another.

        Args:
            log: Identity of the interaction log.
        """
        log_positions = {} if self.log in (None, log) else {"seq": 0, "upto": 0}
        return self.model_copy(update={**log_positions, "log": log})


def read_watermark(file_path: Path) -> Watermark:
    """Read a watermark; a new one, at the beginning of all sources, if there is none.

    Raises:
        StoreError: It is damaged, or the state database cannot be used.
    """
    stored_content = read_checked_document(file_path, subject=_SUBJECT, way_out=_WAY_OUT)
    if stored_content is None:
        return Watermark()
    try:
        return Watermark.model_validate(stored_content)
    except ValidationError as error:
        raise StoreError(
            f"{_SUBJECT} cannot be read", received=f"{file_path}: {error}", way_out=_WAY_OUT
        ) from error


def write_watermark(file_path: Path, watermark: Watermark) -> None:
    """Replace a watermark as a whole; it is on the disk on return."""
    write_checked_document(file_path, watermark.model_dump(mode="json"))


def document_digest(file_path: Path) -> str:
    """SHA-256 of a stored delivery, the first 16 hexadecimal digits."""
    stored_text = read_document(file_path) or ""
    return hashlib.sha256(stored_text.encode()).hexdigest()[:16]
