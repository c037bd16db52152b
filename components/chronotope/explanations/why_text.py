"""Text of an explanation for the user: why this item is shown, in plain sentences."""

from collections.abc import Sequence
from datetime import date
from typing import Final

from chronotope.artifact.bundle import Vocabulary
from chronotope.explanations.explain_items import Explanation
from chronotope.inference.history import UserHistory

_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
_NAMED: Final = 2
"""Events that the text names; the others stand in the list of events."""

_NOTICEABLE: Final = 0.1
"""Share of its probability that an item loses without an event that it is shown because of."""


def why_text(
    explanation: Explanation, history: UserHistory, vocabulary: Vocabulary, reason: str
) -> str:
    """Why an item is shown, for the user.

    Args:
        explanation: Its explanation; positions count in ``history``.
        history: The history that the model read.
        vocabulary: Ids and titles.
        reason: Fact of the history or of all users' activity, used where no event matters.
    """
    if not len(history):
        return f"There is no history of yours. This item is {reason}."
    if not explanation.events:
        return f"Your history hardly changes the place of this item: {reason}."
    needed_positions = _needed_positions(explanation)
    positions = needed_positions or [event.position for event in explanation.events]
    place = ordinal(explanation.rank)
    names = _event_names(positions, history, vocabulary)
    if needed_positions:
        sentences = [f"Mostly because of {names}."]
    elif len(positions) == 1:
        sentences = [f"{names} is in favour of it, but it would be {place} without this event too."]
    else:
        sentences = [
            f"Several events are in favour of it: {names}. "
            f"Without any one of them it would still be {place}."
        ]
    return " ".join([*sentences, *_without(explanation, positions, history, vocabulary)])


def _needed_positions(explanation: Explanation) -> list[int]:
    """Events each of which alone moves the item: by a rank, or by a tenth of its probability.

    Effects also count what an event says alone, which other events may say as well.
    """
    return [
        event.position
        for event in explanation.events
        if event.rank_without > explanation.rank
        or event.probability_without < (1 - _NOTICEABLE) * explanation.probability
    ]


def _without(
    explanation: Explanation,
    named_positions: list[int],
    history: UserHistory,
    vocabulary: Vocabulary,
) -> list[str]:
    """Sentence of the counterfactual, if there is one; events that stand before it stay unnamed."""
    counterfactual = explanation.counterfactual
    if counterfactual is None:
        return []
    rank, n_events = ordinal(counterfactual.rank), len(counterfactual.position)
    if counterfactual.is_whole_item:
        item = _item_name(int(counterfactual.position[0]), history, vocabulary)
        return [f"Without your {n_events} events of {item} it would be {rank}."]
    events = "this event" if n_events == 1 else f"these {n_events} events"
    consequence = f"Without {events} it would be {rank} instead of {ordinal(explanation.rank)}"
    positions = counterfactual.position.tolist()
    if set(positions) == set(named_positions):
        return [f"{consequence}."]
    return [f"{consequence}: {_event_names(positions, history, vocabulary)}."]


def _event_names(positions: Sequence[int], history: UserHistory, vocabulary: Vocabulary) -> str:
    """Items and local days of the first events, and how many there are beside them."""
    names = [
        f"{_item_name(position, history, vocabulary)} on {_local_date(position, history)}"
        for position in positions[:_NAMED]
    ]
    n_others = len(positions) - len(names)
    if n_others:
        return f"{', '.join(names)} and {n_others} more"
    return " and ".join(names)


def _item_name(position: int, history: UserHistory, vocabulary: Vocabulary) -> str:
    item_idx = int(history.item_idx[position])
    return vocabulary.titles[item_idx] or str(vocabulary.items.name(item_idx))


def _local_date(position: int, history: UserHistory) -> date:
    local_s = int(history.occurred_s[position]) + 60 * int(history.utc_offset_min[position])
    return date.fromordinal(_EPOCH_DAY + local_s // 86_400)


def ordinal(number: int) -> str:
    """English ordinal of a number.

    >>> [ordinal(n) for n in (1, 2, 3, 11, 22, 113)]
    ['1st', '2nd', '3rd', '11th', '22nd', '113th']
    """
    suffix = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10)
    return f"{number:,}{suffix or 'th'}"
