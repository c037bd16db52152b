"""JSON Lines in random spellings: the same events reach the lake, broken lines the quarantine."""

import json
import tempfile
from collections import Counter
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.feedback.test_intake import Cafe

Event = tuple[str, str, datetime]
INDIA = timezone(timedelta(hours=5, minutes=30))

TIME_FORMS = {
    "z": lambda at: at.strftime("%Y-%m-%dT%H:%M:%SZ"),
    "offset": lambda at: at.astimezone(INDIA).isoformat(),
    "without an offset": lambda at: at.strftime("%Y-%m-%d %H:%M:%S"),
    "basic": lambda at: at.strftime("%Y%m%dT%H%M%SZ"),
}

BROKEN = [
    b"{half",
    b"[1, 2]",
    b"7",
    b'{"user_id": "u"}',
    b'{"user_id": "\\ud800", "item_id": "i", "occurred_at": "2024-03-04T08:00:00Z"}',
    b'{"user_id": "caf\xe9", "item_id": "i", "occurred_at": "2024-03-04T08:00:00Z"}',
    b'{"user_id": "u", "user_id": "v", "item_id": "i", "occurred_at": "2024-03-04T08:00:00Z"}',
    b'{"user_id": true, "item_id": "i", "occurred_at": "2024-03-04T08:00:00Z"}',
    b'{"user_id": 1.5, "item_id": "i", "occurred_at": "2024-03-04T08:00:00Z"}',
    b'{"user_id": ["u"], "item_id": "i", "occurred_at": "2024-03-04T08:00:00Z"}',
    b'{"user_id": "NULL", "item_id": "i", "occurred_at": "2024-03-04T08:00:00Z"}',
    b'{"user_id": "u", "item_id": "i", "occurred_at": "yesterday"}',
]
"""Lines that are no events, each for another reason."""

texts = st.text("aZ09\u00e9\u4f1a\U0001f600 ,;\"'\\/\u2028", min_size=1, max_size=8)
text_ids = texts.map(lambda text: f"x{text}y")  # no word for a missing id, no space at the ends
whole_numbers = st.integers(-(2**70), 2**70)
ids = st.one_of(text_ids, whole_numbers)
times = st.integers(662_688_000, 1_700_000_000).map(
    lambda second: datetime.fromtimestamp(second, UTC)
)


@st.composite
def lines(draw: st.DrawFn) -> tuple[Event, bytes]:
    """An event and one of the ways to write it."""
    user, item, at = draw(ids), draw(ids), draw(times)
    fields: dict[str, Any] = {
        "user_id": user,
        "item_id": item,
        "occurred_at": TIME_FORMS[draw(st.sampled_from(sorted(TIME_FORMS)))](at),
    }
    fields |= draw(st.sampled_from([{}, {"value": None}, {"lat": None, "page": "home"}]))
    ordered = dict(draw(st.permutations(list(fields.items()))))
    text = json.dumps(
        ordered,
        ensure_ascii=draw(st.booleans()),
        separators=draw(st.sampled_from([(",", ":"), (" , ", " : ")])),
    )
    return (str(user), str(item), at), text.encode()


@given(
    st.lists(lines(), min_size=1, max_size=10),
    st.lists(st.tuples(st.sampled_from(BROKEN), st.integers(0, 10)), max_size=4),
    st.sampled_from([b"\n", b"\r\n", b"\n\n"]),
    st.booleans(),
)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_events_of_the_inbox_reach_the_lake_and_broken_lines_do_not(
    written: list[tuple[Event, bytes]],
    faults: list[tuple[bytes, int]],
    newline: bytes,
    has_mark: bool,
) -> None:
    content = [line for _, line in written]
    for broken_line, position in faults:
        content.insert(min(position, len(content)), broken_line)
    mark = b"\xef\xbb\xbf" if has_mark else b""
    with tempfile.TemporaryDirectory() as folder:
        cafe = Cafe(Path(folder))
        cafe.intake.inbox.mkdir(parents=True)
        (cafe.intake.inbox / "a.jsonl").write_bytes(mark + newline.join(content) + newline)
        report = cafe.take()
        rows = cafe.lake.read("events", columns=["user_id", "item_id", "occurred_at"]).to_pylist()
    assert (report.n_read, report.n_quarantined) == (len(content), len(faults)), report.reasons
    assert Counter(tuple(row.values()) for row in rows) == Counter({event for event, _ in written})
