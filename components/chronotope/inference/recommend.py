"""Recommendation of the champion: next items, time and place of a user."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from chronotope.artifact.bundle import Vocabulary
from chronotope.artifact.onnx_recommender import ModelOutput
from chronotope.contracts.errors import ConfigError
from chronotope.contracts.event_log import Float32, Int32
from chronotope.inference.forecast import forecast_places, forecast_time, remaining_wait
from chronotope.inference.history import (
    UserHistory,
    history_to_queries,
    items_are_places,
    read_history,
)
from chronotope.inference.interval_levels import forecast_levels
from chronotope.inference.item_context_reader import ItemContextReader
from chronotope.inference.item_likeness import likeness_cache
from chronotope.inference.item_metadata import ItemMetadata, read_item_metadata
from chronotope.inference.live_activity import read_live_activity
from chronotope.inference.new_users import UserLevels, liked_notes, with_liked_items
from chronotope.inference.ranking import describe_items, score_items
from chronotope.inference.recent_activity import RecentActivity, read_recent_activity, utc_midnight
from chronotope.inference.request import Recommendation, RecommendOptions
from chronotope.inference.request_context import (
    context_as_of,
    last_place,
    read_readings,
    validate_context,
)
from chronotope.inference.wish import WishScorer
from chronotope.lake import Lake
from chronotope.lake.event_labels import AnomalousEvents, read_event_labels
from chronotope.lake.privacy import read_privacy, read_stored_users
from chronotope.registry.champion import Champion, load_champion
from chronotope.runtime.workspace import Workspace

N_PLACES = 3
"""Forecast places where items are not places themselves."""


@dataclass(frozen=True, slots=True)
class ChampionRequest:
    """Champion, and the events, catalogue and context of one request.

    Attributes:
        champion: Champion with the activity of recent events.
        lake: The dataset's lake.
        request_time: Request time, whole seconds.
        stored_id: The user's id in the lake.
        n_history: Number of the user's events before the request time, also of unknown items.
        history: Those of items that the champion knows.
        metadata: Titles, categories and places of the items.
        context: Context of the request by column, and levels of the user.
        excluded_ids: Ids of events that a label calls anomalous.
    """

    champion: Champion
    lake: Lake
    request_time: datetime
    stored_id: str
    n_history: int
    history: UserHistory
    metadata: ItemMetadata
    context: dict[str, float]
    excluded_ids: frozenset[str]

    @property
    def vocabulary(self) -> Vocabulary:
        """Ids that the champion knows."""
        return self.champion.vocabulary


def recommend(
    root: Path,
    dataset: str,
    user_id: str,
    request_time: datetime,
    *,
    options: RecommendOptions | None = None,
    load: Callable[[Path, str], Champion] = load_champion,
) -> Recommendation:
    """Recommendation for a user at a request time, from the events before it.

    Args:
        root: Project root.
        dataset: Dataset of the champion.
        user_id: External id; without events, of a cold-start user.
        request_time: Request time, with a time zone.
        options: Number of items, filters, and the user's coordinates.
        load: Loader of the champion.

    Raises:
        ConfigError: No such dataset, a latitude without longitude, or no key of its pseudonyms.
        StoreError: There is no champion yet.
    """
    options = options or RecommendOptions()
    request = read_request(root, dataset, user_id, request_time, options=options, load=load)
    champion, vocabulary, request_time = request.champion, request.vocabulary, request.request_time
    history, metadata, workspace = request.history, request.metadata, Workspace(root)
    liked_idx = vocabulary.items.index(list(options.liked_items))
    model_history = _model_history(history, liked_idx, request_time, vocabulary)
    model_output = _model_output(
        champion,
        request.stored_id,
        request_time,
        request.context,
        history,
        model_history,
        workspace,
    )
    item_scores = model_output.item_scores[0] + _wish_scores(root, dataset, options, metadata)
    ranking = score_items(item_scores, history, metadata, options, liked_idx)
    activity = activity_before(request)
    top_idx = ranking.best(options.k).items
    items = describe_items(top_idx, ranking, options, model_history, activity, vocabulary, metadata)
    wait = remaining_wait(model_output.when, history, request_time)
    time_forecast = forecast_time(wait, forecast_levels(workspace, dataset, champion.version))
    n_places, has_time = 0 if items_are_places(vocabulary) else N_PLACES, time_forecast is not None
    notes = answer_notes(
        champion, request.n_history, request_time, has_items=bool(items), has_time=has_time
    )
    return Recommendation(
        dataset,
        champion.version,
        user_id,
        request_time,
        request.n_history,
        items,
        time_forecast,
        forecast_places(model_output.place_scores[0], vocabulary, metadata, n_places),
        (*notes, *liked_notes(options.liked_items, liked_idx)),
    )


def read_request(
    root: Path,
    dataset: str,
    user_id: str,
    request_time: datetime,
    *,
    options: RecommendOptions,
    load: Callable[[Path, str], Champion],
) -> ChampionRequest:
    """Open the champion and read what it needs to know about a user at a request time.

    Events that a label calls anomalous are nobody's history, as in training and the service.

    Args:
        root: Project root.
        dataset: Dataset of the champion.
        user_id: External id; without events, of a cold-start user.
        request_time: Request time, with a time zone.
        options: Filters, and context that replaces the lake's.
        load: Loader of the champion.

    Raises:
        ConfigError: As ``recommend``.
        StoreError: There is no champion yet.
    """
    request_time = request_time.replace(microsecond=0)
    validate_options(options, request_time)
    champion, workspace = load(root, dataset), Workspace(root)
    lake, vocabulary = Lake(workspace.lake(dataset)), champion.vocabulary
    stored_id = read_stored_users(lake, dataset).looked_up_id(user_id)
    labels_path = workspace.event_labels(dataset)
    excluded_ids = AnomalousEvents.of_labels(read_event_labels(labels_path)).event_ids
    full_history = read_history(lake, stored_id, request_time, vocabulary, excluded_ids)
    metadata = read_item_metadata(lake, vocabulary, likeness_cache(workspace.cache()))
    champion = read_live_activity(champion, lake, metadata.category_idx)
    return ChampionRequest(
        champion=champion,
        lake=lake,
        request_time=request_time,
        stored_id=stored_id,
        n_history=len(full_history),
        history=full_history.without_unknown(),
        metadata=metadata,
        context=_request_context(lake, champion, options, request_time, full_history, stored_id),
        excluded_ids=excluded_ids,
    )


def _model_history(
    history: UserHistory, liked_idx: Int32, request_time: datetime, vocabulary: Vocabulary
) -> UserHistory:
    """Events with liked items as the latest ones."""
    request_s, same_ids = int(request_time.timestamp()), items_are_places(vocabulary)
    return with_liked_items(history, liked_idx, request_s, items_are_places=same_ids)


def _model_output(
    champion: Champion,
    user_id: str,
    request_time: datetime,
    context: dict[str, float],
    history: UserHistory,
    model_history: UserHistory,
    workspace: Workspace,
) -> ModelOutput:
    """Items by the history with liked items; time and place by the events alone."""
    user_idx = int(champion.vocabulary.users.index([user_id])[0])
    reader = ItemContextReader.of_model(workspace, champion.model.manifest, champion.vocabulary)
    try:
        return _answer(champion, user_idx, request_time, context, reader, history, model_history)
    finally:
        if reader is not None:
            reader.close()


def _answer(
    champion: Champion,
    user_idx: int,
    request_time: datetime,
    context: dict[str, float],
    reader: ItemContextReader | None,
    history: UserHistory,
    model_history: UserHistory,
) -> ModelOutput:
    """Output for the events, with the item scores for the history with liked items."""

    def output(read_history: UserHistory) -> ModelOutput:
        queries = history_to_queries(read_history, user_idx, request_time, context=context)
        if reader is not None:
            queries = reader.add_rows(queries)
        return champion.model.answer(queries)

    model_output = output(history)
    if model_history is history:
        return model_output
    return replace(model_output, item_scores=output(model_history).item_scores)


def _wish_scores(
    root: Path, dataset: str, options: RecommendOptions, metadata: ItemMetadata
) -> Float32:
    """Scores of the items by the wish, shape (n_items,); 0, shape (1,), without one."""
    if options.wish is None:
        return np.zeros(1, np.float32)
    return WishScorer(Workspace(root), dataset).scores(options.wish, metadata.likeness)


def _request_context(
    lake: Lake,
    champion: Champion,
    options: RecommendOptions,
    request_time: datetime,
    full_history: UserHistory,
    user_id: str,
) -> dict[str, float]:
    """Context of the request by column, and levels of the user: the lake's, or the options'.

    Args:
        lake: Readings and attributes.
        champion: Model that names the columns.
        options: Values that replace the lake's.
        request_time: Request time.
        full_history: Events of the user, also of unknown items.
        user_id: External id.
    """
    columns = champion.model.manifest.context
    validate_context(options.context, columns)
    place_id = last_place(full_history, champion.vocabulary.places)
    lake_context = context_as_of(read_readings(lake, columns), request_time, place_id)
    user_levels = UserLevels.read(lake, champion.model.manifest.attributes, user_id)
    return lake_context | options.context | user_levels.context(user_id, options.attributes)


def activity_before(request: ChampionRequest) -> RecentActivity:
    """Activity before the request, or before the end of training if that is empty."""
    min_users = read_privacy(request.lake).settings.min_group_users

    def read_activity(until: datetime) -> RecentActivity:
        return read_recent_activity(
            request.lake,
            until,
            request.vocabulary.items,
            min_users=min_users,
            excluded_ids=request.excluded_ids,
        )

    activity = read_activity(utc_midnight(request.request_time))
    if activity.is_empty:  # the request is long after the last event
        end_time = trained_until(request.champion)
        activity = read_activity(end_time).ending(end_time)
    return activity


def validate_options(options: RecommendOptions, request_time: datetime) -> None:
    """Validate the options and the time zone of the request time.

    Raises:
        ConfigError: The options contradict each other, or there is no time zone.
    """
    if request_time.tzinfo is None:
        raise ConfigError(
            "The request time needs a time zone",
            received=request_time,
            way_out="Append Z or +HH:MM",
        )
    if (options.lat is None) != (options.lon is None):
        raise ConfigError("Set both latitude and longitude, or neither")
    if options.within_km is not None and options.lat is None:
        raise ConfigError("A maximum distance needs the user's latitude and longitude")


def trained_until(champion: Champion) -> datetime:
    """The instant right after the champion's last training event."""
    last_event = datetime.fromtimestamp(champion.model.manifest.trained_until_s, UTC)
    return last_event + timedelta(seconds=1)


def answer_notes(
    champion: Champion, n_history: int, request_time: datetime, *, has_items: bool, has_time: bool
) -> tuple[str, ...]:
    """Notes on the limits of a recommendation.

    Args:
        champion: The champion.
        n_history: Events of the user before the request time.
        request_time: Request time.
        has_items: Whether any item was allowed.
        has_time: Whether there is a time forecast.
    """
    notes = []
    if not n_history:
        notes.append("The user has no event before the request time and is a cold-start user.")
    elif not has_time:
        notes.append(
            "No time forecast: the time since the latest event is beyond the model's longest gaps."
        )
    if request_time < trained_until(champion):
        notes.append("The model was trained on events after the request time, too.")
    if not has_items:
        notes.append("No item matches the category, the other filters and the distance.")
    return tuple(notes)
