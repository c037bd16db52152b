"""Blocks and bundle of a scoring on their way through the object store of the lake.

Nodes of a cluster need not share a folder if the lake is in an object store. The driver puts the
bundle there; workers open their copy, whose digests are verified, and put the blocks there; the
driver takes each block into its staging folder. Nothing of it stays after a scoring; what a
killed one left is removed by the next, or by an erasure.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa

from chronotope.lake.stored_objects import SCORING_PREFIX, StoredFolder
from chronotope.runtime.durable_files import replacing
from chronotope.scoring.staging import block_bytes

_BUNDLE: Final = "bundle"


@dataclass(frozen=True, slots=True)
class BlockTransfer:
    """Prefix of an object store.

    Attributes:
        lakes_url: Address of all lakes, for nodes whose environment does not name it.
        dataset: Name of the dataset.
        scoring: Name of the scoring, that of its staging folder.
    """

    lakes_url: str
    dataset: str
    scoring: str

    @property
    def store_folder(self) -> StoredFolder:
        """The prefix."""
        return StoredFolder(f"{self.lakes_url}/{self.dataset}/{SCORING_PREFIX}/{self.scoring}")

    def send_bundle(self, bundle_dir: Path) -> None:
        """Copy the files of a bundle to the store.

        Raises:
            StoreError: The store does not respond, or denies access.
        """
        for file_path in sorted(bundle_dir.rglob("*")):
            if file_path.is_file():
                name = file_path.relative_to(bundle_dir).as_posix()
                self.store_folder.write_object(f"{_BUNDLE}/{name}", file_path.read_bytes())

    def fetch_bundle(self, bundle_dir: Path) -> Path:
        """Copy the bundle to a new folder; its digests are verified when it is opened.

        Args:
            bundle_dir: The folder, which does not exist yet.

        Raises:
            StoreError: The store does not respond, or denies access.
        """
        for name in self.store_folder.object_names(_BUNDLE):
            target_path = bundle_dir / name
            if not target_path.resolve().is_relative_to(bundle_dir.resolve()):
                continue  # a file beside the bundle is none of its files
            target_path.parent.mkdir(parents=True, exist_ok=True)
            target_path.write_bytes(self.store_folder.read_object(f"{_BUNDLE}/{name}"))
        return bundle_dir

    def send_block(self, file_name: str, rows: pa.Table) -> None:
        """Store a block.

        Raises:
            StoreError: The store does not respond, or denies access.
        """
        self.store_folder.write_object(file_name, block_bytes(rows))

    def take_block(self, block_path: Path) -> None:
        """Move a block from the store to the staging folder.

        Args:
            block_path: File of the block.

        Raises:
            StoreError: The store does not respond, or denies access.
        """
        content = self.store_folder.read_object(block_path.name)
        with replacing(block_path) as draft_path:
            draft_path.write_bytes(content)
        self.store_folder.delete_object(block_path.name)

    def clear_store(self) -> None:
        """Delete what this scoring, and killed ones of the dataset, left in the store.

        Raises:
            StoreError: The store does not respond, or denies access.
        """
        StoredFolder(f"{self.lakes_url}/{self.dataset}/{SCORING_PREFIX}").clear_objects()
