"""Model and data of a scoring, read as the service reads them."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from chronotope.contracts.data_version import EVENTS, DataVersion
from chronotope.contracts.errors import ConfigError
from chronotope.contracts.event_log import Float64
from chronotope.datasets.loading import dataset_names, load_spec
from chronotope.inference.interval_levels import forecast_levels
from chronotope.lake import InteractionLog, Lake
from chronotope.lake.event_labels import AnomalousEvents, read_event_labels
from chronotope.lake.privacy import StoredUsers, read_stored_users
from chronotope.lake.version_poller import VersionPoller
from chronotope.privacy import PrivacySettings
from chronotope.registry.champion import Champion
from chronotope.runtime.state import state_exists
from chronotope.runtime.workspace import Workspace
from chronotope.scoring.config import DEFAULT_K, ScoringConfig
from chronotope.serving.model.loaded import LoadedChampion, read_data_version
from chronotope.serving.settings import ServeSettings
from chronotope.serving.state.event_store import EventStore
from chronotope.serving.state.live_state import LiveState, LoggedEvent, UserState, build_user_state
from chronotope.serving.state.lru_cache import LruCache


@dataclass(frozen=True, slots=True)
class ScoringSource:
    """Model and data that a scoring reads.

    Attributes:
        lake: The dataset's lake.
        loaded_champion: Champion over the events of the lake.
        data_version: Versions of the tables.
        logged_events: Events of a user in the interaction log, by id.
        live_users: Users with posted events that may be missing in the lake.
        levels: Of low end, median and high end of the time, shape (3,).
        stored_users: Pseudonyms of the ids that callers use, and who is excluded.
    """

    lake: Lake
    loaded_champion: LoadedChampion
    data_version: DataVersion
    logged_events: Callable[[str], list[LoggedEvent]]
    live_users: frozenset[str]
    levels: Float64
    stored_users: StoredUsers = field(default_factory=lambda: StoredUsers(PrivacySettings()))

    @property
    def champion(self) -> Champion:
        """The champion."""
        return self.loaded_champion.champion

    @property
    def n_buckets(self) -> int:
        """Number of buckets of users of the events."""
        return self.lake.n_buckets(self.data_version.events)

    def read_state(self, user_id: str) -> UserState:
        """State of a user, posted events included.

        Args:
            user_id: Stored id.
        """
        return build_user_state(user_id, self.logged_events(user_id), self.loaded_champion)


@contextmanager
def open_source(
    dataset: str,
    config: ScoringConfig,
    load: Callable[[Path, str], Champion],
    *,
    by_bucket: bool = False,
) -> Iterator[ScoringSource]:
    """Champion, events and posted events, all as the service reads them.

    Args:
        dataset: Name of the dataset.
        config: Project root and length of the lists.
        load: Loader of the champion.
        by_bucket: Whether the events in memory are those of the first bucket of users, if the
            lake has several.

    Raises:
        ConfigError: k exceeds the catalogue, or the keys of the pseudonyms are missing.
        StoreError: There is no champion, or the lake cannot be read.
    """
    workspace = Workspace(config.root)
    lake = Lake(workspace.lake(dataset))
    stored_users = read_stored_users(lake, dataset)
    champion = load(config.root, dataset)
    n_items = champion.vocabulary.items.size - 1
    if config.k > n_items and config.k != DEFAULT_K:
        raise ConfigError(
            "k is larger than the catalogue of the model",
            received=f"k = {config.k:,}, {n_items:,} items",
            way_out=f"Choose a k of at most {n_items:,}",
        )
    data_version = read_data_version(VersionPoller(lake))
    anomalous_events = AnomalousEvents.of_labels(read_event_labels(workspace.event_labels(dataset)))
    version = lake.table_version(EVENTS)
    bucket = 0 if by_bucket and lake.n_buckets(version) > 1 else None
    event_store = EventStore.read(lake, anomalous_events.event_ids, version, bucket)
    # events may have been added since the versions were read
    tables = (pair for pair in data_version.tables if pair[0] != EVENTS)
    data_version = DataVersion(((EVENTS, event_store.version), *tables))
    with ExitStack() as exit_stack:
        loaded_champion = LoadedChampion.load(champion, config.root, event_store, data_version)
        if loaded_champion.item_context is not None:
            exit_stack.callback(loaded_champion.item_context.close)
        source = _source(dataset, config, lake, loaded_champion, exit_stack, anomalous_events)
        yield replace(source, stored_users=stored_users)


def _source(
    dataset: str,
    config: ScoringConfig,
    lake: Lake,
    loaded_champion: LoadedChampion,
    exit_stack: ExitStack,
    anomalous_events: AnomalousEvents,
) -> ScoringSource:
    """The source, with the posted events if there are any; closed with the stack."""
    workspace = Workspace(config.root)
    levels = forecast_levels(workspace, dataset, loaded_champion.champion.version)
    log_path = workspace.interactions(dataset)
    if not state_exists(log_path):
        return ScoringSource(
            lake,
            loaded_champion,
            loaded_champion.data_version,
            lambda _: [],
            frozenset(),
            levels,
        )
    interaction_log = InteractionLog(log_path)
    exit_stack.callback(interaction_log.close)
    live_state = LiveState(_service_settings(dataset, config), interaction_log, LruCache(1))
    live_state.exclude_events(anomalous_events.keys)
    return ScoringSource(
        lake,
        loaded_champion,
        loaded_champion.data_version,
        live_state.logged_events,
        live_state.live_users(),
        levels,
    )


def _service_settings(dataset: str, config: ScoringConfig) -> ServeSettings:
    """Settings of the dataset's service, which complete posted events."""
    settings = ServeSettings(dataset=dataset, root=config.root)
    if dataset not in dataset_names(config.conf_dir):
        return settings
    spec = load_spec(dataset, conf_dir=config.conf_dir)
    fields = {
        "event_type": spec.event_type,
        "local_zone": spec.local_zone,
        "cell_resolution": spec.cell_resolution,
    }
    return settings.model_copy(update=fields)
