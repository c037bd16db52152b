"""What a user does next, when and where: the champion's answer, in words."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from chronotope.contracts.errors import ConfigError
from chronotope.inference.forecast import forecast_places, forecast_time, remaining_wait
from chronotope.inference.history import history_to_queries, items_are_places, read_history
from chronotope.inference.item_metadata import read_item_metadata
from chronotope.inference.ranking import describe_items, score_items
from chronotope.inference.recent_activity import read_recent_activity, utc_midnight
from chronotope.inference.request import Recommendation, RecommendOptions
from chronotope.inference.request_context import (
    context_as_of,
    last_place,
    read_readings,
    validate_context,
)
from chronotope.lake import Lake
from chronotope.registry.champion import Champion, load_champion
from chronotope.runtime.workspace import Workspace

N_PLACES = 3
"""Places told where items are not places themselves."""


def recommend(
    root: Path,
    dataset: str,
    user_id: str,
    at: datetime,
    *,
    wish: RecommendOptions | None = None,
    load: Callable[[Path, str], Champion] = load_champion,
) -> Recommendation:
    """Ask the champion what a user does at a moment; only events before it are read.

    Args:
        root: Project root.
        dataset: Whose champion.
        user_id: External id; one without events is answered as a stranger.
        at: The moment, with a time zone.
        wish: How many items, and where the user is.
        load: Opens the champion.

    Raises:
        ConfigError: No such dataset, or a latitude without longitude.
        StoreError: There is no champion yet.
    """
    wish, at = wish or RecommendOptions(), at.replace(microsecond=0)
    validate_options(wish, at)
    champion = load(root, dataset)
    lake, words = Lake(Workspace(root).lake(dataset)), champion.vocabulary
    whole = read_history(lake, user_id, at, words)
    past, facts = whole.known(), read_item_metadata(lake, words)
    columns = champion.model.manifest.context
    validate_context(wish.context, columns)
    context = context_as_of(read_readings(lake, columns), at, last_place(whole, words.places))
    user_idx = int(words.users.index([user_id])[0])
    said = champion.model.answer(
        history_to_queries(past, user_idx, at, context=context | wish.context)
    )
    crowd = read_recent_activity(lake, utc_midnight(at), words.items)
    if crowd.is_empty:  # a moment long after the log
        crowd = read_recent_activity(lake, trained_until(champion), words.items)
    scored = score_items(said.item_scores[0], past, facts, wish)
    items = describe_items(scored.best(wish.k).items, scored, wish, past, crowd, words, facts)
    when = forecast_time(remaining_wait(said.when, past, at))
    n_places = 0 if items_are_places(words) else N_PLACES
    return Recommendation(
        dataset,
        champion.version,
        user_id,
        at,
        len(whole),
        items,
        when,
        forecast_places(said.place_scores[0], words, facts, n_places),
        answer_notes(champion, len(whole), at, found=bool(items), timed=when is not None),
    )


def validate_options(wish: RecommendOptions, at: datetime) -> None:
    """Refuse a wish that contradicts itself, or a moment without a time zone.

    Raises:
        ConfigError: It does.
    """
    if at.tzinfo is None:
        raise ConfigError("The moment needs a time zone", received=at, way_out="Append Z or +HH:MM")
    if (wish.lat is None) != (wish.lon is None):
        raise ConfigError("Give both latitude and longitude, or neither")
    if wish.within_km is not None and wish.lat is None:
        raise ConfigError("A greatest distance needs the user's latitude and longitude")


def trained_until(champion: Champion) -> datetime:
    """The moment right after the last event the champion learned from."""
    known = datetime.fromtimestamp(champion.model.manifest.trained_until_s, UTC)
    return known + timedelta(seconds=1)


def answer_notes(
    champion: Champion, n_history: int, at: datetime, *, found: bool, timed: bool
) -> tuple[str, ...]:
    """What the reader should know of an answer.

    Args:
        champion: Who answered.
        n_history: Events of the user before the moment.
        at: The moment.
        found: Whether any item was allowed.
        timed: Whether it was said when.
    """
    notes = []
    if not n_history:
        notes.append("No event of this user before this moment: answered as for a stranger.")
    elif not timed:
        notes.append("The user has been silent for longer than the model can tell when.")
    if at < trained_until(champion):
        notes.append("The model was trained on events after this moment as well.")
    if not found:
        notes.append("No item is of this kind, allowed and within this distance.")
    return tuple(notes)
