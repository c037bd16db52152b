"""What users were shown and what came of it, from the interaction log."""

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
"""Of each exposure, which of its positions were hit."""

_CHUNK: Final = 10_000
_ROUNDED_S: Final = 1.0  # a question for now is answered for the next whole second


@dataclass(frozen=True, slots=True)
class Exposure:
    """A list that a user was shown, or a shadow would have shown.

    Attributes:
        answer_id: Of the answer.
        user_id: Who saw it.
        at: The moment, as logged.
        at_s: The same, UTC seconds.
        items: In the order they were shown.
        probabilities, propensities: Of the items; empty if nobody told.
        version: That answered.
        experiment, arm: That the user took part in, if any.
        fell_back: Whether the champion stood in for the arm's model.
        shadow_of: Answer that was shown instead, if this is a shadow's.
        question: What was asked beside user and moment.
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
        """Whether chance had a part in every position, so that other policies can be judged."""
        told = self.propensities
        return (
            bool(told) and len(self.probabilities) == len(told) and 0 < min(told) <= max(told) < 1
        )


def read_exposures(log: InteractionLog, experiment: str | None) -> list[Exposure]:
    """Lists of users, in the order of the log; those of histories without a user have no hits.

    Args:
        log: The interaction log.
        experiment: Only this one's; None reads all.
    """
    told = (_exposure(payload) for payload in _payloads(log, "impression") if c.USER_ID in payload)
    found = (one for one in told if one is not None)
    return [one for one in found if experiment is None or one.experiment == experiment]


def attribute_hits(
    exposures: Sequence[Exposure], log: InteractionLog, *, window_s: float, by_answer: bool = True
) -> Hits:
    """Find out which items users went for after they were shown.

    An event that names its answer counts for that answer alone. Any other one counts for the
    latest list before it that showed the user this item, if that is no longer ago than the
    window. So an event counts once at most.

    Args:
        exposures: The lists.
        log: The interaction log.
        window_s: How long after a list an event may come of it, seconds.
        by_answer: False: whatever answer an event names, it goes by the window. Of shadows
            nobody can name an answer.
    """
    hits = [np.zeros(len(one.items), np.bool_) for one in exposures]
    of_answer = {one.answer_id: row for row, one in enumerate(exposures)}
    of_user: defaultdict[str, list[tuple[float, int]]] = defaultdict(list)
    for row, one in enumerate(exposures):
        of_user[one.user_id].append((one.at_s, row))
    for lists in of_user.values():
        lists.sort()
    for event in _payloads(log, "event"):
        named = event.get("answer_id") if by_answer else None
        seen = of_user.get(event[c.USER_ID], [])
        found = of_answer.get(named) if named else _latest(seen, event, exposures, window_s)
        if found is not None and event[c.ITEM_ID] in exposures[found].items:
            hits[found][exposures[found].items.index(event[c.ITEM_ID])] = True
    return hits


def _latest(
    seen: list[tuple[float, int]],
    event: dict[str, Any],
    exposures: Sequence[Exposure],
    window_s: float,
) -> int | None:
    occurred_s = datetime.fromisoformat(event[c.OCCURRED_AT]).timestamp()
    last = bisect_right(seen, (occurred_s + _ROUNDED_S, len(exposures)))
    for at_s, row in reversed(seen[:last]):
        if at_s < occurred_s - window_s:
            return None
        if event[c.ITEM_ID] in exposures[row].items:
            return row
    return None


def _payloads(log: InteractionLog, kind: Kind) -> Iterator[dict[str, Any]]:
    after = 0
    while found := log.read(after, _CHUNK, kind):
        yield from (stored.payload for stored in found)
        after = found[-1].seq


def _exposure(told: dict[str, Any]) -> Exposure | None:
    if told[c.USER_ID] is None:
        return None
    return Exposure(
        answer_id=told["answer_id"],
        user_id=told[c.USER_ID],
        at=told["at"],
        at_s=datetime.fromisoformat(told["at"]).timestamp(),
        items=tuple(told["items"]),
        probabilities=tuple(told.get("probabilities", ())),
        propensities=tuple(told.get("propensities", ())),
        version=told["version"],
        experiment=told.get("experiment"),
        arm=told.get("arm"),
        fell_back=told.get("fell_back", False),
        shadow_of=told.get("shadow_of"),
        question=told.get("question", {}),
    )
