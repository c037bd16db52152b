"""Exposures (shown lists) and the hits attributed to them, from the interaction log."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from chronotope.contracts import columns as c
from chronotope.lake.interaction_log import InteractionLog, Kind

Hits = list[npt.NDArray[np.bool_]]
"""Mask of the positions with a hit, for each exposure, shape (n_items,) each."""

_CHUNK_SIZE: Final = 10_000
_ROUNDING_S: Final = 1.0  # request times are rounded up to a second


@dataclass(frozen=True, slots=True)
class Exposure:
    """List that was shown to a user, or logged for a shadow arm.

    Attributes:
        answer_id: Id of the answer.
        user_id: Id of the user.
        at: Time of the request, as logged.
        at_s: Time of the request, UTC seconds.
        items: Item ids by position.
        probabilities: Probabilities of the items by the model; empty if not logged.
        propensities: Propensities of the items at their positions; empty if not logged.
        version: Version of the model.
        experiment, arm: Experiment and arm of the user; None without an experiment.
        fell_back: Whether the champion answered instead of the arm's model.
        shadow_of: Id of the shown answer if the list is of a shadow arm, else None.
        question: Other fields of the request.
    """

    answer_id: str
    user_id: str
    at: str
    at_s: float
    items: tuple[str, ...]
    probabilities: tuple[float, ...]
    propensities: tuple[float, ...]
    version: str
    experiment: str | None = None
    arm: str | None = None
    fell_back: bool = False
    shadow_of: str | None = None
    question: dict[str, Any] = field(default_factory=dict)

    @property
    def explores(self) -> bool:
        """Whether every position was randomised, as off-policy estimates need."""
        propensities = self.propensities
        if not propensities or len(self.probabilities) != len(propensities):
            return False
        return 0 < min(propensities) <= max(propensities) < 1


def read_exposures(log: InteractionLog, experiment: str | None) -> list[Exposure]:
    """Read the exposures in the order of the log; those without a user are left out.

    Args:
        log: Interaction log with impressions.
        experiment: Name of the experiment; None reads the exposures of all.
    """
    impressions = (
        _exposure(payload) for payload in _payloads(log, "impression") if c.USER_ID in payload
    )
    exposures = (item_exposure for item_exposure in impressions if item_exposure is not None)
    return [
        item_exposure
        for item_exposure in exposures
        if experiment is None or item_exposure.experiment == experiment
    ]


def attribute_hits(
    exposures: Sequence[Exposure], log: InteractionLog, *, window_s: float, by_answer: bool = True
) -> Hits:
    """Attribute the events of the log to the items of the exposures.

    An event with an answer id is attributed to that answer only. Any other event is attributed to
    the latest list within the window before it that was shown to the user and contains the item.
    So an event is attributed at most once.

    Args:
        exposures: Shown lists, or lists of a shadow arm.
        log: Interaction log with events.
        window_s: Attribution window after a list, seconds.
        by_answer: Whether to use the answer ids of events; False for shadow arms, whose answer
            ids are not sent to clients.

    Returns:
        Mask of the positions with a hit, for each exposure.
    """
    hits = [np.zeros(len(item_exposure.items), np.bool_) for item_exposure in exposures]
    answer_row = {item_exposure.answer_id: row for row, item_exposure in enumerate(exposures)}
    user_lists: defaultdict[str, list[tuple[float, int]]] = defaultdict(list)
    for row, item_exposure in enumerate(exposures):
        user_lists[item_exposure.user_id].append((item_exposure.at_s, row))
    for lists in user_lists.values():
        lists.sort()
    for event in _payloads(log, "event"):
        answer_id, item_id = event.get("answer_id") if by_answer else None, event[c.ITEM_ID]
        if answer_id:
            hit_row = answer_row.get(answer_id)
        else:
            shown_lists = user_lists.get(event[c.USER_ID], [])
            hit_row = _latest_row(shown_lists, event, exposures, window_s)
        if hit_row is not None and item_id in exposures[hit_row].items:
            hits[hit_row][exposures[hit_row].items.index(item_id)] = True
    return hits


def _latest_row(
    shown_lists: list[tuple[float, int]],
    event: dict[str, Any],
    exposures: Sequence[Exposure],
    window_s: float,
) -> int | None:
    occurred_s = datetime.fromisoformat(event[c.OCCURRED_AT]).timestamp()
    n_earlier = bisect_right(shown_lists, (occurred_s + _ROUNDING_S, len(exposures)))
    for at_s, row in reversed(shown_lists[:n_earlier]):
        if at_s < occurred_s - window_s:
            return None
        if event[c.ITEM_ID] in exposures[row].items:
            return row
    return None


def _payloads(log: InteractionLog, kind: Kind) -> Iterator[dict[str, Any]]:
    after_seq = 0
    while interactions := log.read(after_seq, _CHUNK_SIZE, kind):
        yield from (interaction.payload for interaction in interactions)
        after_seq = interactions[-1].seq


def _exposure(payload: dict[str, Any]) -> Exposure | None:
    if payload[c.USER_ID] is None:
        return None
    return Exposure(
        answer_id=payload["answer_id"],
        user_id=payload[c.USER_ID],
        at=payload["shown_at"],
        at_s=datetime.fromisoformat(payload["shown_at"]).timestamp(),
        items=tuple(payload["items"]),
        probabilities=tuple(payload.get("probabilities", ())),
        propensities=tuple(payload.get("propensities", ())),
        version=payload["version"],
        experiment=payload.get("experiment"),
        arm=payload.get("arm"),
        fell_back=payload.get("fell_back", False),
        shadow_of=payload.get("shadow_of"),
        question=payload.get("request", {}),
    )
