"""A champion opened for serving: ids as dictionaries, facts, what it makes of events."""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Self

import numpy as np

from chronotope.contracts.data_version import EVENTS, DataVersion
from chronotope.contracts.errors import ArtifactError
from chronotope.contracts.event_log import Int32
from chronotope.contracts.ids import IdMap
from chronotope.features.context_join import ContextReadings
from chronotope.inference.history import UserHistory, history_to_queries, items_are_places
from chronotope.inference.item_metadata import ItemMetadata, read_item_metadata
from chronotope.inference.recent_activity import RecentActivity, utc_midnight
from chronotope.inference.recommend import trained_until
from chronotope.inference.request_context import context_as_of, last_place, read_readings
from chronotope.lake import Lake
from chronotope.lake.version_poller import VersionPoller
from chronotope.registry.champion import Champion
from chronotope.runtime.workspace import Workspace
from chronotope.serving.state.event_store import EventStore
from chronotope.serving.state.lru_cache import LruCache

_CROWDS = 64  # days of which the crowd is kept


@dataclass(frozen=True)
class LoadedChampion:
    """One champion over one version of the lake; never changed, only replaced.

    Attributes:
        champion: The champion.
        facts: What is known of its items and places.
        histories: Everybody's events.
        item_of, place_of, user_of: The champion's index of each id.
        item_idx, place_idx: The champion's index of each event of the histories.
        items_are_places: Whether an event without a place happens at its item.
        readings: What surrounds requests, if the champion listens to any of it.
        data_version: Versions of the tables that all of this was read from.
    """

    champion: Champion
    facts: ItemMetadata
    histories: EventStore
    item_of: dict[str, int]
    place_of: dict[str, int]
    user_of: dict[str, int]
    item_idx: Int32
    place_idx: Int32
    items_are_places: bool
    readings: ContextReadings | None
    data_version: DataVersion
    _crowds: LruCache[datetime, RecentActivity] = field(default_factory=lambda: LruCache(_CROWDS))

    @classmethod
    def over(
        cls, champion: Champion, root: Path, histories: EventStore, data_version: DataVersion
    ) -> Self:
        """Read what the champion needs to answer, and see that it answers.

        Args:
            champion: The champion.
            root: Project root.
            histories: Everybody's events.
            data_version: Versions of the tables before anything was read: if one changed
                since, the next look sees it.

        Raises:
            ArtifactError: It does not.
        """
        words = champion.vocabulary
        same, manifest = items_are_places(words), champion.model.manifest
        lake = Lake(Workspace(root).lake(manifest.dataset))
        item_idx = _translated(histories.item, words.items.index(histories.items))
        place_idx = _translated(histories.place, words.places.index(histories.places))
        opened = cls(
            champion,
            read_item_metadata(lake, words),
            histories,
            _numbered(words.items),
            _numbered(words.places),
            _numbered(words.users),
            item_idx,
            item_idx if same else place_idx,
            same,
            read_readings(lake, manifest.context),
            data_version,
        )
        opened._warm()
        return opened

    @property
    def key(self) -> tuple[str, str]:
        """Whatever was computed under another key is out of date."""
        return self.champion.version, str(self.data_version)

    def context(self, past: UserHistory, at: datetime) -> dict[str, float]:
        """What surrounds a request of somebody with this past."""
        place = last_place(past, self.champion.vocabulary.places)
        return context_as_of(self.readings, at, place)

    def crowd(self, at: datetime) -> RecentActivity:
        """What everybody did of late; the end of the training's time if that is long ago."""
        day = utc_midnight(at)
        found = self._crowds.get(day)
        if found is None:
            n_items = self.champion.vocabulary.items.size
            found = self.histories.crowd(day, self.item_idx, n_items)
            if found.is_empty:
                end = trained_until(self.champion)
                found = self.histories.crowd(end, self.item_idx, n_items)
            self._crowds.put(day, found)
        return found

    def _warm(self) -> None:
        """Answer once without and once with a past."""
        known = np.flatnonzero(self.item_idx)[-1:]
        last = UserHistory(
            self.item_idx[known],
            self.place_idx[known],
            self.histories.occurred_us[known] // 1_000_000,
            self.histories.utc_offset_min[known],
        )
        at, words = trained_until(self.champion), self.champion.vocabulary
        for past in (last.before(0), last):
            said = self.champion.model.answer(history_to_queries(past, 0, at))
            scores = said.item_scores
            if scores.shape != (1, words.items.size) or not np.isfinite(scores[:, 1:]).all():
                raise ArtifactError(
                    "The champion's answers are no scores of its items",
                    received=f"version {self.champion.version}, shape {scores.shape}",
                    way_out="Roll back, or train again",
                )
        self.crowd(at)


def lake_version(tables: VersionPoller) -> DataVersion:
    """Versions of the tables that answers are made of.

    Raises:
        StoreError: There are no events, or the lake cannot be read.
    """
    events = tables.version(EVENTS) or tables.lake.table_version(EVENTS)  # which says what to do
    others = ((name, tables.version(name)) for name in ("items", "surroundings"))
    present = ((name, version) for name, version in others if version is not None)
    return DataVersion(((EVENTS, events), *present))


def _translated(codes: Int32, idx: Int32) -> Int32:
    """The model's index of each event; code -1 is the unknown at the end."""
    return np.append(idx, np.int32(0))[codes]


def _numbered(ids: IdMap) -> dict[str, int]:
    names = ids.names(np.arange(1, ids.size))
    return {str(name): n for n, name in enumerate(names, 1)}
