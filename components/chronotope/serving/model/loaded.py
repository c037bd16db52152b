"""Champion loaded for serving: bundle, id maps, item metadata and the encoded event store."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

import numpy as np

from chronotope.artifact.onnx_recommender import OnnxRecommender
from chronotope.contracts.data_version import EVENTS, DataVersion
from chronotope.contracts.errors import ArtifactError
from chronotope.contracts.event_log import Float32, Int32, Int64
from chronotope.contracts.ids import IdMap
from chronotope.features.context_join import ContextReadings
from chronotope.inference.history import UserHistory, history_to_queries, items_are_places
from chronotope.inference.item_context_reader import ItemContextReader
from chronotope.inference.item_likeness import likeness_cache
from chronotope.inference.item_metadata import ItemMetadata, read_item_metadata
from chronotope.inference.live_activity import with_live_activity
from chronotope.inference.new_items import GrownChampion, NewItemReader
from chronotope.inference.new_users import UserLevels
from chronotope.inference.recent_activity import RecentActivity, utc_midnight
from chronotope.inference.recommend import trained_until
from chronotope.inference.request_context import context_as_of, last_place, read_readings
from chronotope.lake import Lake
from chronotope.lake.posted import PostedItemContext
from chronotope.lake.table_schemas import ITEM_CONTEXT_TABLE
from chronotope.lake.version_poller import VersionPoller
from chronotope.registry.champion import Champion
from chronotope.runtime.workspace import Workspace
from chronotope.serving.model.new_item_exposure import exposed_items
from chronotope.serving.state.event_store import EventStore
from chronotope.serving.state.lru_cache import LruCache

OPTIONAL_TABLES = ("items", "users", "context", ITEM_CONTEXT_TABLE)
"""Tables besides the events that responses are computed from."""

PREPARED_AHEAD = timedelta(hours=1)  # rows of the item context are read before their day begins
_CACHED_DAYS = 64  # days of recent activity in memory


def _activity_cache() -> LruCache[datetime, RecentActivity]:
    return LruCache(_CACHED_DAYS)


@dataclass(frozen=True)
class LoadedChampion:
    """One model over one version of the lake; never changed, only replaced.

    Attributes:
        champion: The model version.
        item_metadata: Titles, categories and coordinates of its items and places.
        event_store: Events of all users.
        item_idx_of, place_idx_of, user_idx_of: The model's index of each id.
        item_idx, place_idx: The model's index of each event of the store, shape (n_events,).
        items_are_places: Whether an event without a place happens at its item.
        readings: Context readings, if the model uses any.
        data_version: Versions of the tables that all of this was read from.
        grown: The champion as it was trained, and the items that came since.
        exposed_idx: New items with hardly an event, which exploration shows, shape (n,).
        user_levels: Attributes of the users that the model reads.
        item_context: Reader of the items' context; None if the model reads none.
    """

    champion: Champion
    item_metadata: ItemMetadata
    event_store: EventStore
    item_idx_of: dict[str, int]
    place_idx_of: dict[str, int]
    user_idx_of: dict[str, int]
    item_idx: Int32
    place_idx: Int32
    items_are_places: bool
    readings: ContextReadings | None
    data_version: DataVersion
    grown: GrownChampion
    exposed_idx: Int64
    user_levels: UserLevels
    item_context: ItemContextReader | None
    _recent_activity: LruCache[datetime, RecentActivity] = field(default_factory=_activity_cache)

    @classmethod
    def load(
        cls,
        champion: Champion,
        root: Path,
        event_store: EventStore,
        data_version: DataVersion,
        new_items: NewItemReader | None = None,
        posted_context: PostedItemContext | None = None,
    ) -> Self:
        """Read what the model needs to respond, and run it once without and with a history.

        Args:
            champion: The model version.
            root: Project root.
            event_store: Events of all users.
            data_version: Versions of the tables before anything was read: a change since then
                is noticed at the next poll.
            new_items: Reader of the items that the model does not know; None adds none.
            posted_context: Open log of the posted item context; None opens one.

        Raises:
            ArtifactError: The model's output is not one finite score per item.
        """
        grown = GrownChampion(champion, champion) if new_items is None else new_items.grow(champion)
        champion = grown.champion
        bundle_vocabulary, bundle_manifest = champion.vocabulary, champion.model.manifest
        workspace = Workspace(root)
        lake = Lake(workspace.lake(bundle_manifest.dataset))
        item_idx = _encode(event_store.item, bundle_vocabulary.items.index(event_store.items))
        place_idx = _encode(event_store.place, bundle_vocabulary.places.index(event_store.places))
        same_ids = items_are_places(bundle_vocabulary)
        cache = likeness_cache(workspace.cache())
        metadata = read_item_metadata(lake, bundle_vocabulary, cache, grown.rows, grown.vectors)
        loaded_champion = cls(
            with_live_activity(
                champion,
                event_store.user,
                item_idx,
                event_store.occurred_us,
                metadata.category_idx,
            ),
            metadata,
            event_store,
            _idx_by_id(bundle_vocabulary.items),
            _idx_by_id(bundle_vocabulary.places),
            _idx_by_id(bundle_vocabulary.users),
            item_idx,
            item_idx if same_ids else place_idx,
            same_ids,
            read_readings(lake, bundle_manifest.context),
            data_version,
            grown,
            exposed_items(item_idx, grown, new_items),
            UserLevels.read(lake, bundle_manifest.attributes),
            ItemContextReader.of_model(
                workspace, bundle_manifest, bundle_vocabulary, posted_context
            ),
        )
        loaded_champion._warm_up()
        return loaded_champion

    @property
    def cache_key(self) -> tuple[str, str]:
        """Model, data version and new items: a result under another key is stale."""
        new_items = f"+{self.grown.digest}" if self.grown.digest else ""
        posted = "" if self.item_context is None else f"+context{self.item_context.position()}"
        data_key = f"{self.data_version}{self.event_store.labels_key}"
        return self.champion.version, f"{data_key}{new_items}{posted}"

    @property
    def target(self) -> tuple[str, str]:
        """Model and data version that were to be loaded."""
        return self.champion.version, str(self.data_version)

    def with_events(self, event_store: EventStore) -> Self:
        """The same model over the events of other users; activity counted so far stays.

        Args:
            event_store: The events.
        """
        vocabulary = self.champion.vocabulary
        item_idx = _encode(event_store.item, vocabulary.items.index(event_store.items))
        place_idx = _encode(event_store.place, vocabulary.places.index(event_store.places))
        return replace(
            self,
            event_store=event_store,
            item_idx=item_idx,
            place_idx=item_idx if self.items_are_places else place_idx,
        )

    def with_activity(
        self, request_time: datetime, recent: RecentActivity, live: Float32 | None
    ) -> Self:
        """The same model with the activity of all users at a moment, counted elsewhere.

        Args:
            request_time: The moment.
            recent: Recent events.
            live: Counts that the graph reads, shape (n_counts, n_items); None if it reads none.
        """
        self._recent_activity.put(utc_midnight(request_time), recent)
        model = self.champion.model
        if live is None or not isinstance(model, OnnxRecommender):
            return self
        return replace(self, champion=replace(self.champion, model=model.with_activity(live)))

    def context_features(
        self, user_history: UserHistory, request_time: datetime
    ) -> dict[str, float]:
        """Context features of a request, read as of its time at the user's latest place."""
        place_id = last_place(user_history, self.champion.vocabulary.places)
        return context_as_of(self.readings, request_time, place_id)

    def recent_activity(self, request_time: datetime) -> RecentActivity:
        """Recent events of all users; those before the end of training where there are none."""
        day = utc_midnight(request_time)
        activity = self._recent_activity.get(day)
        if activity is None:
            activity = self._count_activity(day)
            if activity.is_empty:
                end_time = trained_until(self.champion)
                activity = self._count_activity(end_time).ending(end_time)
            self._recent_activity.put(day, activity)
        return activity

    def _count_activity(self, end_time: datetime) -> RecentActivity:
        n_items = self.champion.vocabulary.items.size
        min_users = self.item_metadata.min_group_users
        return self.event_store.recent_activity(
            end_time, self.item_idx, n_items, min_users=min_users
        )

    def _warm_up(self) -> None:
        """Run the model without and with a history, and check its output."""
        last_row = np.flatnonzero(self.item_idx)[-1:]  # an event whose item is known
        last_event = UserHistory(
            self.item_idx[last_row],
            self.place_idx[last_row],
            self.event_store.occurred_us[last_row] // 1_000_000,
            self.event_store.utc_offset_min[last_row],
        )
        request_time = trained_until(self.champion)
        n_items = self.champion.vocabulary.items.size
        for user_history in (last_event.before(0), last_event):
            query_batch = history_to_queries(user_history, 0, request_time)
            item_scores = self.champion.model.answer(query_batch).item_scores
            if item_scores.shape != (1, n_items) or not np.isfinite(item_scores[:, 1:]).all():
                raise ArtifactError(
                    "The model output is not one finite score per item",
                    received=f"version {self.champion.version}, shape {item_scores.shape}",
                    way_out="Roll back, or train again",
                )
        self.recent_activity(request_time)
        self.prepare_item_context()

    def prepare_item_context(self) -> None:
        """Read the rows of the present day, and of the next one shortly before it begins."""
        if self.item_context is not None:
            now = datetime.now(UTC)
            for moment in (now, now + PREPARED_AHEAD):
                self.item_context.prepare(moment)


def read_data_version(version_poller: VersionPoller) -> DataVersion:
    """Versions of the tables that responses are computed from.

    Raises:
        StoreError: There are no events, or the lake cannot be read.
    """
    # table_version raises with the reason where the poller has none
    events = version_poller.version(EVENTS) or version_poller.lake.table_version(EVENTS)
    optional = ((name, version_poller.version(name)) for name in OPTIONAL_TABLES)
    present = ((name, version) for name, version in optional if version is not None)
    return DataVersion(((EVENTS, events), *present))


def _encode(codes: Int32, idx_by_code: Int32) -> Int32:
    """The model's index of each event, shape (n_events,); code -1 becomes the unknown index 0."""
    return np.append(idx_by_code, np.int32(0))[codes]


def _idx_by_id(id_map: IdMap) -> dict[str, int]:
    ids = id_map.names(np.arange(1, id_map.size))
    return {str(external_id): idx for idx, external_id in enumerate(ids, 1)}
