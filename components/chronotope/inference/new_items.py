"""Items that came after a training: the served model gets them without another one.

They are the items that were posted to a service, and the rows of the lake's items table that the
table did not have when the model was trained. Each is encoded by the encoders of the model
(``content.encode_items``) and added to its catalogue (``artifact.grow_catalogue``).
"""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from chronotope.artifact.bundle import read_content_axes
from chronotope.artifact.cold_rows import NewItems
from chronotope.artifact.grow_catalogue import GrowableBundle
from chronotope.content.item_vectors import FurtherVectors
from chronotope.contracts import columns as c
from chronotope.contracts.data_version import DataVersion
from chronotope.contracts.errors import ArtifactError, ChronotopeError, DataError
from chronotope.contracts.event_log import Float32
from chronotope.contracts.ids import IdMap
from chronotope.datasets.content_spec import ContentSpec
from chronotope.inference.new_item_content import ItemRow, NewItemEncoder
from chronotope.lake import Lake
from chronotope.lake.posted_items import (
    PostedItem,
    PostedItems,
    sum_of_posts,
    with_posted_fields,
)
from chronotope.lake.text_filter import text_in
from chronotope.registry.champion import Champion
from chronotope.spacetime.local_planes import plane_km

_LOG = logging.getLogger(__name__)

MAX_NEW_ITEMS: Final = 50_000
"""New items of a model at most; further ones wait for the next training."""

MAX_VERSIONS: Final = 4
"""Models, those of an experiment included, whose tables are in memory."""

ValueT = TypeVar("ValueT")


class ContentSource(BaseModel):
    """Where the content of a dataset's items is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    content: ContentSpec = Field(description="Kinds of content, as in the dataset's YAML.")
    data_dir: Path = Field(description="Folder of the files.")


@dataclass(frozen=True, slots=True)
class GrownChampion:
    """A champion with the items that came after its training.

    Attributes:
        champion: The champion; as it was trained if there are no new items.
        trained: The champion as it was trained.
        item_rows: Values of each new item by column, by id.
        reasons: Why a new item lacks a kind of content, by id.
        vectors: Vectors of the new items by the model's encoders.
        n_waiting: New items that are not encoded yet; the next call goes on with them.
        problem: Why the model takes no new items; None if it does.
        digest: Digest of the new items and their content; "" without any.
    """

    champion: Champion
    trained: Champion
    rows: Mapping[str, ItemRow] = field(default_factory=dict)
    reasons: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    vectors: tuple[FurtherVectors, ...] = ()
    n_waiting: int = 0
    problem: str | None = None
    digest: str = ""


class NewItemReader:
    """Reader of the items that a model does not know, for one thread at a time."""

    def __init__(
        self,
        lake: Lake,
        posted_items: PostedItems,
        source: ContentSource | None,
        cache_dir: Path,
    ) -> None:
        """Start without any item.

        Args:
            lake: Lake of the dataset.
            posted_items: Posted items of the dataset.
            source: Where the content of the items is; None encodes nothing.
            cache_dir: Folder of all caches.
        """
        self._lake, self._posted_items = lake, posted_items
        self._encoder = NewItemEncoder(
            lake,
            source.content if source else ContentSpec(),
            source.data_dir if source else Path(),
            cache_dir,
        )
        self._posted: dict[str, PostedItem] = {}
        self._position, self._n_waiting = 0, 0
        self._bundles: dict[str, GrowableBundle] = {}
        self._grown: dict[str, tuple[str, GrownChampion]] = {}

    def is_behind(self) -> bool:
        """Whether there are posts that were not read, or items that are not encoded yet."""
        return self._n_waiting > 0 or self._posted_items.position() != self._position

    def posted_item(self, item_id: str) -> PostedItem | None:
        """What was posted of an item until the last ``grow``; None if nothing was.

        Args:
            item_id: Id of the item.
        """
        return self._posted.get(item_id)

    def posted_since(self, instant: datetime) -> list[str]:
        """Ids of the items whose first post is not older than an instant.

        Args:
            instant: UTC.
        """
        return [
            item_id
            for item_id, posted_item in self._posted.items()
            if posted_item.first_posted_at >= instant
        ]

    def grow(self, champion: Champion) -> GrownChampion:
        """The champion with all items that it does not know.

        It never fails: where items cannot be added, the champion is served with those that were
        added before, and the result says why.

        Args:
            champion: The champion as it was trained.
        """
        try:
            self._read_posts()
            item_rows = self._new_rows(champion)
            if item_rows:
                return self._grow(champion, item_rows)
        except Exception as error:  # the champion is worth more than its new items
            _LOG.warning("Version %s takes no new items: %s", champion.version, error)
            self._n_waiting = 0
            _, grown_before = self._grown.get(
                champion.version, ("", GrownChampion(champion, champion))
            )
            return replace(grown_before, problem=_short_problem(error))
        self._n_waiting = 0
        return GrownChampion(champion, champion)

    def prepare(self, champion: Champion) -> None:
        """Open the encoders of a model, so that its first new item need not wait for them.

        Args:
            champion: The champion.
        """
        try:
            if champion.folder is not None:
                self._encoder.prepare(read_content_axes(champion.folder))
        except Exception as error:  # the first new item will tell
            _LOG.warning("The encoders of version %s are not open: %s", champion.version, error)

    def _read_posts(self) -> None:
        new_posts = self._posted_items.read(self._position)
        self._posted = sum_of_posts(new_posts, self._posted)
        self._position = new_posts[-1].seq if new_posts else self._position

    def _new_rows(self, champion: Champion) -> dict[str, ItemRow]:
        """Rows of the items that the model does not know, by id, in the order of their ids."""
        known_ids = champion.vocabulary.items
        lake_rows = self._later_rows(champion)
        unknown_ids = _unknown(list(self._posted), known_ids)
        stored_rows = self._lake_rows(
            [item_id for item_id in unknown_ids if item_id not in lake_rows]
        )
        posted_rows = {
            item_id: with_posted_fields(
                lake_rows.get(item_id, stored_rows.get(item_id, {})), self._posted[item_id]
            )
            for item_id in unknown_ids
        }
        item_rows = lake_rows | posted_rows
        return {item_id: item_rows[item_id] for item_id in sorted(item_rows)[:MAX_NEW_ITEMS]}

    def _later_rows(self, champion: Champion) -> dict[str, ItemRow]:
        """Rows of the items table that it did not have when the model was trained."""
        trained_version = _items_version(champion)
        if trained_version is None or not self._lake.exists("items"):
            return {}
        item_ids = self._lake.read("items", columns=[c.ITEM_ID])[c.ITEM_ID]
        unknown_ids = _unknown(item_ids.to_pylist(), champion.vocabulary.items)
        if not unknown_ids or not self._lake.holds("items", trained_version):
            return {}
        earlier_rows = self._lake.dataset("items", trained_version).to_table(columns=[c.ITEM_ID])
        grown_before = set(earlier_rows[c.ITEM_ID].to_pylist())
        return self._lake_rows([item_id for item_id in unknown_ids if item_id not in grown_before])

    def _lake_rows(self, item_ids: Sequence[str]) -> dict[str, ItemRow]:
        if not item_ids or not self._lake.exists("items"):
            return {}
        item_table = self._lake.dataset("items").to_table(filter=text_in(c.ITEM_ID, item_ids))
        return {str(item_row[c.ITEM_ID]): item_row for item_row in item_table.to_pylist()}

    def _grow(self, champion: Champion, item_rows: Mapping[str, ItemRow]) -> GrownChampion:
        growable_bundle = self._bundle(champion)
        encoded_items = self._encoder.encode(growable_bundle.axes, item_rows)
        self._n_waiting = encoded_items.n_waiting
        item_rows = {item_id: item_rows[item_id] for item_id in encoded_items.item_ids}
        if not item_rows:
            return GrownChampion(champion, champion, n_waiting=encoded_items.n_waiting)
        content_digest = _digest(item_rows, encoded_items.content)
        known_digest, known_grown = self._grown.get(champion.version, ("", None))
        if known_grown is not None and known_digest == content_digest:
            return replace(
                known_grown, n_waiting=encoded_items.n_waiting, reasons=encoded_items.reasons
            )
        grown_model, grown_vocabulary = growable_bundle.with_items(
            _new_items(growable_bundle, item_rows, encoded_items.content)
        )
        grown = GrownChampion(
            replace(champion, model=grown_model, vocabulary=grown_vocabulary),
            champion,
            item_rows,
            encoded_items.reasons,
            encoded_items.vectors,
            encoded_items.n_waiting,
            digest=content_digest,
        )
        _keep_latest(self._grown, champion.version, (content_digest, grown))
        _LOG.info("Version %s has %d new items", champion.version, len(item_rows))
        return grown

    def _bundle(self, champion: Champion) -> GrowableBundle:
        if champion.version not in self._bundles:
            if champion.folder is None:
                raise ArtifactError(
                    "A model without a folder takes no new items", received=champion.version
                )
            growable_bundle = GrowableBundle.read(champion.folder)
            _keep_latest(self._bundles, champion.version, growable_bundle)
        return self._bundles[champion.version]


def _keep_latest(by_version: dict[str, ValueT], version: str, value: ValueT) -> None:
    """Store a version's value; those of the versions that were stored first are dropped."""
    by_version.pop(version, None)
    by_version[version] = value
    while len(by_version) > MAX_VERSIONS:
        del by_version[next(iter(by_version))]


def _short_problem(error: Exception) -> str:
    """What is wrong and the way out, without paths: the answer of the service shows it."""
    if isinstance(error, ChronotopeError):
        return f"{error.problem}. {error.way_out}" if error.way_out else error.problem
    return type(error).__name__


def _unknown(item_ids: Sequence[str], known_ids: IdMap) -> list[str]:
    if not item_ids:
        return []
    is_unknown = known_ids.index(list(item_ids)) == 0
    return [
        item_id for item_id, unknown_ids in zip(item_ids, is_unknown, strict=True) if unknown_ids
    ]


def _items_version(champion: Champion) -> Any:
    """Version of the items table that the model was trained on; None if it is not known."""
    try:
        data_version = DataVersion.parse(champion.model.manifest.data_version)
    except DataError:
        return None
    return dict(data_version.tables).get("items")


def _new_items(
    growable_bundle: GrowableBundle, item_rows: Mapping[str, ItemRow], content: Float32
) -> NewItems:
    """What the graph needs of the items."""
    row_values = list(item_rows.values())
    category_names = [item_row.get(c.CATEGORY) for item_row in row_values]
    lat_deg, lon_deg = (
        np.array(
            [
                np.nan if item_row.get(column_name) is None else item_row[column_name]
                for item_row in row_values
            ],
            np.float64,
        )
        for column_name in (c.LAT, c.LON)
    )
    east_km, north_km = plane_km(
        lat_deg, lon_deg, growable_bundle.vocabulary.origin_deg or (np.nan, np.nan)
    ).T
    return NewItems(
        tuple(item_rows),
        growable_bundle.vocabulary.categories.index(
            [
                None if category_name is None else str(category_name)
                for category_name in category_names
            ]
        ).astype(np.int64),
        east_km,
        north_km,
        content,
        tuple(str(item_row.get(c.TITLE) or "") for item_row in row_values),
    )


def _digest(item_rows: Mapping[str, ItemRow], content: Float32) -> str:
    content_digest = hashlib.blake2b(
        json.dumps(item_rows, sort_keys=True, default=str).encode(), digest_size=8
    )
    content_digest.update(content.tobytes())
    return content_digest.hexdigest()
