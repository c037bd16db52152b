"""Whatever comes in: in = new + duplicates + quarantined, once, also after a kill."""

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from chronotope.contracts.clock import MAX_CLOCK_SKEW
from chronotope.feedback import intake
from chronotope.feedback.config import FeedbackConfig
from chronotope.feedback.intake import Intake, IntakeReport, run_intake
from chronotope.feedback.watermark import Watermark, read_watermark
from chronotope.ingestion import payload_rows
from chronotope.lake import Lake
from chronotope.lake.interaction_log import Interaction, InteractionLog
from chronotope.runtime.workspace import Workspace
from flows.watch_interactions import n_waiting
from tests.feedback.test_payloads import spec

START = datetime(2025, 2, 3, tzinfo=UTC)
SUITES = Path(__file__).parents[2] / "expectations"


def event(user: str, minute: int, **more: Any) -> dict[str, Any]:
    at = (START + timedelta(minutes=minute)).isoformat()
    return {"user_id": user, "item_id": f"i{minute % 5}", "occurred_at": at, **more}


class Cafe:
    """A dataset's folders, its log and its lake."""

    def __init__(self, root: Path, **config: Any) -> None:
        self.workspace = Workspace(root)
        self.intake = Intake(spec(), self.workspace, SUITES, FeedbackConfig(**config))
        self.lake = Lake(self.workspace.lake("cafe"))
        self.n_logged = 0

    def log(self, payloads: Sequence[dict[str, Any]], kind: Any = "event") -> None:
        keys = range(self.n_logged, self.n_logged + len(payloads))
        records = [
            Interaction(key=f"k{key}", kind=kind, payload=payload)
            for key, payload in zip(keys, payloads, strict=True)
        ]
        self.n_logged += len(payloads)
        with closing(InteractionLog(self.workspace.interactions("cafe"))) as log:
            log.append(records)

    def drop(self, name: str, lines: Sequence[str]) -> None:
        self.intake.inbox.mkdir(parents=True, exist_ok=True)
        text = "".join(f"{line}\n" for line in lines)
        (self.intake.inbox / name).write_text(text, encoding="utf-8")

    def take(self) -> IntakeReport:
        found = run_intake(self.intake)
        n_stored = found.n_new + found.n_duplicates
        assert n_stored + found.n_quarantined + found.n_dropped == found.n_read
        return found

    def sizes(self) -> tuple[int, int]:
        names = ("events", "quarantine")
        events, refused = (len(self.lake.read(n)) if self.lake.exists(n) else 0 for n in names)
        return events, refused

    @property
    def mark(self) -> Watermark:
        return read_watermark(self.intake.mark_path)


@pytest.fixture
def cafe(tmp_path: Path) -> Cafe:
    return Cafe(tmp_path, rate_limit_rows=10)


def test_nothing_there_is_nothing_new_and_makes_no_folder(cafe: Cafe, tmp_path: Path) -> None:
    assert cafe.take() == IntakeReport()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("state_store")
def test_log_and_inbox_are_taken_in_once(cafe: Cafe) -> None:
    cafe.log([event("ann", 1), event("bob", 2), {"user_id": "eve"}])
    cafe.log([{"shown": []}], kind="impression")
    cafe.drop("a.jsonl", [json.dumps(event("bob", 2)), json.dumps(event("cat", 3)), "{half"])
    found = cafe.take()
    assert (found.n_read, found.n_new, found.n_duplicates, found.n_quarantined) == (6, 3, 1, 2)
    assert (cafe.sizes(), cafe.mark.seq) == ((3, 2), 4)
    version = cafe.lake.version("events")
    assert cafe.take() == IntakeReport()
    assert (cafe.sizes(), cafe.lake.version("events")) == ((3, 2), version)
    cafe.log([event("ann", 9)])
    assert cafe.take().n_new == 1


def test_another_lake_gets_all_feedback_again(cafe: Cafe) -> None:
    cafe.log([event("ann", 1), event("bob", 2)])
    cafe.drop("a.jsonl", [json.dumps(event("cat", 3))])
    cafe.take()
    version = cafe.mark.events
    assert version == cafe.lake.table_version("events")
    shutil.rmtree(cafe.workspace.lake("cafe"))
    cafe.log([event("dan", 4)])
    found = cafe.take()
    assert (found.n_read, found.n_new, cafe.sizes()) == (4, 4, (4, 0))
    assert cafe.mark.events == cafe.lake.table_version("events") != version
    assert cafe.take() == IntakeReport()


def test_another_log_is_read_from_its_beginning(cafe: Cafe) -> None:
    cafe.log([event("ann", n) for n in range(3)])
    cafe.take()
    shutil.rmtree(cafe.workspace.interactions("cafe").parent)
    cafe.log([event("bob", 1), event("bob", 2)])
    assert n_waiting("cafe", cafe.workspace.root) == 2
    assert (cafe.take().n_new, cafe.mark.seq, cafe.sizes()) == (2, 2, (5, 0))
    assert n_waiting("cafe", cafe.workspace.root) == 0


@pytest.mark.usefixtures("state_store")
def test_deliveries_are_bounded_and_none_is_skipped(tmp_path: Path) -> None:
    cafe = Cafe(tmp_path, batch_rows=3)
    cafe.log([event("ann", n) for n in range(4)])
    cafe.log([{"shown": []}] * 5, kind="impression")
    cafe.log([event("bob", n) for n in range(4)])
    cafe.drop("a.jsonl", [json.dumps(event("cat", n)) for n in range(7)])
    assert cafe.take().n_new == 15
    assert (cafe.sizes(), cafe.mark.seq) == ((15, 0), 13)


def test_a_flood_and_garbage_end_in_quarantine_with_reasons(cafe: Cafe) -> None:
    calm = [event(user, n) for user in ("ann", "bob", "cat", "dan", "eve") for n in range(2)]
    garbage = [event("ann", 50, lat=999), event("bob", 60, value="much")]
    cafe.log([*calm, *garbage, *(event("evil", n) for n in range(60))])
    found = cafe.take()
    assert found.n_new == len(calm) + 40  # twenty times the median, which is 2
    assert found.reasons["flood"] == 20
    assert found.n_quarantined == 22
    told = {reason for row in cafe.lake.read("quarantine").to_pylist() for reason in row["reasons"]}
    assert {"flood", "value is not a number"} < told


def test_a_delivery_that_is_broken_as_a_whole_does_not_block_the_next(cafe: Cafe) -> None:
    cafe.log([event(f"u{n}", n, lat=48.2, lon=16.4) for n in range(30)])
    cafe.take()
    cafe.log([event(f"u{n}", 100 + n, lat=16.4, lon=48.2) for n in range(20)])  # swapped
    found = cafe.take()
    assert (found.n_new, found.n_quarantined) == (0, 20)
    assert "not swapped" in next(iter(found.reasons))
    cafe.log([event("ann", 500, lat=48.2, lon=16.4)])
    assert cafe.take().n_new == 1


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_kill_around_the_commit_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    calm, killed = (
        Cafe(tmp_path / "calm", rate_limit_rows=10),
        Cafe(tmp_path / "killed", rate_limit_rows=10),
    )
    rows = [event("ann", n) for n in range(30)] + [{"user_id": "eve"}] * 2
    for cafe in (calm, killed):
        cafe.log(rows)
        cafe.drop("a.jsonl", ["{half", json.dumps(event("bob", 1))])
    calm.take()
    with monkeypatch.context() as patched:
        patched.setattr(intake, "_deliver", dying(intake._deliver, when))
        with pytest.raises(KeyboardInterrupt):
            killed.take()
    assert killed.mark.seq == 0
    for cafe in (calm, killed):
        cafe.log([event("ann", n) for n in range(100, 105)])  # more came in between
    killed.take()
    calm.take()
    assert killed.sizes() == calm.sizes() == (20 + 1 + 5, 10 + 2 + 1)  # 20 times a median of 1
    assert killed.mark.seq == calm.mark.seq


def dying(work: Any, when: str) -> Any:
    """The work, killed before or after it."""

    def die(*words: Any, **more: Any) -> Iterator[None]:
        if when == "after":
            work(*words, **more)
        raise KeyboardInterrupt

    return die


def test_events_of_the_future_are_refused_from_log_and_inbox_alike(cafe: Cafe) -> None:
    now = datetime.now(UTC)
    ahead = {"a": MAX_CLOCK_SKEW / 2, "b": 2 * MAX_CLOCK_SKEW, "c": timedelta(hours=12)}
    events = [event(user, 0, occurred_at=(now + by).isoformat()) for user, by in ahead.items()]
    cafe.log(events)
    cafe.drop("a.jsonl", [json.dumps({**one, "item_id": "other"}) for one in events])
    found = cafe.take()
    assert (found.n_new, found.n_quarantined) == (2, 4)
    assert list(found.reasons) == ["time is neither before 1990 nor in the future"]


@pytest.mark.usefixtures("state_store")
def test_control_characters_and_half_characters_reach_the_quarantine_and_come_back(
    cafe: Cafe,
) -> None:
    odd = ["\x1b[31mred\x07", "a\x00b", "\ud800", "\u202edetsrever", "x" * 100_000]
    cafe.drop("a.jsonl", [json.dumps(event(name, 1, value="\x1b[2Jmuch")) for name in odd])
    found = cafe.take()
    assert (found.n_new, found.n_quarantined) == (0, len(odd))
    users = payload_rows(cafe.lake.read("quarantine")["payload"].to_pylist())["user_id"].to_pylist()
    assert users == [name.encode("utf-8", "surrogatepass") for name in odd]  # nothing is replaced
