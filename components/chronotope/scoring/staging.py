"""Staged blocks of a scoring: what a killed run has finished is not computed again.

A scoring has a folder below ``data/scoring/DATASET``, named by the digest of all that determines
its rows. It holds the plan with the moment of scoring, and one Parquet file for each finished
block of users. The folder is removed after the commit.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Self

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from chronotope.contracts.errors import StoreError
from chronotope.lake.store_errors import translate_store_errors
from chronotope.runtime.durable_files import read_json, replacing, write_json
from chronotope.runtime.private_files import private_folder
from chronotope.runtime.state import SharedLock
from chronotope.scoring.user_selection import UserSelection

RESUME_WITHIN: Final = timedelta(hours=12)
"""A killed run that began longer ago begins anew: its moment of scoring is the past by now."""

_PLAN: Final = "plan.json"
_LOCK: Final = "scoring.lock"


class ScoringPlan(BaseModel):
    """What a scoring computes; with the same plan, every run computes the same rows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scored_at: AwareDatetime = Field(description="Moment of scoring")
    bucket_users: tuple[int, ...] = Field(description="Users to score of each bucket of events")
    block_users: int = Field(description="Maximum users of a block")

    @property
    def blocks(self) -> list["UserBlock"]:
        """All blocks; a block has users of one bucket."""
        blocks, bucket_start = [], 0
        for bucket, n_users in enumerate(self.bucket_users):
            for start in range(0, n_users, self.block_users):
                end = min(start + self.block_users, n_users)
                blocks.append(UserBlock(bucket, slice(bucket_start + start, bucket_start + end)))
            bucket_start += n_users
        return blocks


@dataclass(frozen=True, slots=True)
class UserBlock:
    """Users that are stored at a time.

    Attributes:
        bucket: Bucket of the events in which the users are.
        rows: Their positions among the users to score.
    """

    bucket: int
    rows: slice

    @property
    def n_users(self) -> int:
        """Number of users."""
        return int(self.rows.stop - self.rows.start)


@dataclass(frozen=True, slots=True)
class StagedScoring:
    """Folder of a scoring.

    Attributes:
        folder: The folder.
        plan: What is computed.
    """

    folder: Path
    plan: ScoringPlan

    @classmethod
    def open(
        cls,
        dataset_dir: Path,
        selection: UserSelection,
        identity: str,
        *,
        scored_at: datetime | None,
        block_users: int,
    ) -> Self:
        """Folder of a scoring: that of a killed run with the same plan, else a new one.

        Folders of other scorings are removed; the caller holds the lock.

        Args:
            dataset_dir: Folder of the dataset's scorings.
            selection: Users to score.
            identity: Text of all else that determines the rows.
            scored_at: Moment of scoring; None is now, or the moment of the killed run.
            block_users: Users of a block.
        """
        moment = "now" if scored_at is None else scored_at.isoformat()
        content_digest = hashlib.blake2b(json.dumps([identity, moment, block_users]).encode())
        content_digest.update("\n".join(selection.ids.to_pylist()).encode())
        content_digest.update(selection.digests.tobytes())
        folder = dataset_dir / content_digest.hexdigest()[:24]
        for other_dir in dataset_dir.iterdir():
            if other_dir.is_dir() and other_dir != folder:
                shutil.rmtree(other_dir, ignore_errors=True)
        plan = _resumable_plan(folder)
        if plan is None:
            shutil.rmtree(folder, ignore_errors=True)
            private_folder(folder)
            now = datetime.now(UTC).replace(microsecond=0)
            plan = ScoringPlan(
                scored_at=scored_at or now,
                bucket_users=selection.bucket_users,
                block_users=block_users,
            )
            write_json(folder / _PLAN, plan.model_dump(mode="json"))
        return cls(folder, plan)

    def block_path(self, block: int) -> Path:
        """Parquet file of a block."""
        return self.folder / f"block-{block:06d}.parquet"

    def block_paths(self) -> list[Path]:
        """Files of all blocks, in order."""
        return [self.block_path(block) for block in range(len(self.plan.blocks))]

    def missing_blocks(self) -> list[int]:
        """Blocks that are not stored yet, or whose file is damaged."""
        return [block for block, path in enumerate(self.block_paths()) if not _is_readable(path)]

    def store(self, block: int, rows: pa.Table) -> None:
        """Store a block; its file appears at once, with all its bytes on the disk.

        Raises:
            StoreError: The disk is full, or the folder cannot be written.
        """
        write_block(self.block_path(block), rows)

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)


def write_block(block_path: Path, rows: pa.Table) -> None:
    """Write the file of a block; it appears at once, with all its bytes on the disk.

    Args:
        block_path: The file.
        rows: Rows of the block.

    Raises:
        StoreError: The disk is full, or the folder cannot be written.
    """
    with translate_store_errors("predictions"), replacing(block_path) as draft_path:
        draft_path.write_bytes(block_bytes(rows))


def block_bytes(rows: pa.Table) -> bytes:
    """Parquet file of a block, in memory.

    Args:
        rows: Rows of the block.
    """
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink, compression="zstd")
    content: bytes = sink.getvalue().to_pybytes()
    return content


@contextmanager
def scoring_lock(dataset_dir: Path, dataset: str) -> Iterator[None]:
    """Hold the lock of a dataset's scorings; it is freed if the holder dies.

    Args:
        dataset_dir: Folder of the dataset's scorings; created if missing.
        dataset: Name of the dataset.

    Raises:
        StoreError: Another run is scoring, or the folder cannot be written.
    """
    with translate_store_errors("predictions"):
        private_folder(dataset_dir)
        shared_lock = SharedLock(dataset_dir / _LOCK)
    try:
        if not shared_lock.try_acquire():
            raise StoreError(
                f"Another run is scoring the users of {dataset!r}",
                way_out="Wait until it has finished, or stop it, and run again",
            )
        yield
    finally:
        shared_lock.release()


def _resumable_plan(folder: Path) -> ScoringPlan | None:
    """Plan of a killed run that is young enough; None if there is none."""
    with suppress(StoreError, ValidationError):
        content = read_json(folder / _PLAN, subject="The plan of a scoring", way_out="Run again")
        began_s = (folder / _PLAN).stat().st_mtime
        if abs(datetime.now(UTC).timestamp() - began_s) < RESUME_WITHIN.total_seconds():
            return ScoringPlan.model_validate(content)
    return None


def _is_readable(file_path: Path) -> bool:
    try:
        pq.read_metadata(file_path)
    except (OSError, pa.ArrowInvalid):
        return False
    return True
