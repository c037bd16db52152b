"""One round: requests and events to the service, the feedback flow, the evaluation."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from benchmarks.replay.judge import Judge, compared, keep, kept
from benchmarks.replay.live import Live
from benchmarks.replay.traffic import SPEC, Traffic, posts
from chronotope.contracts import columns as c
from chronotope.feedback.config import FeedbackConfig
from chronotope.lake import Lake
from chronotope.pipelines.settings import TrainSettings
from chronotope.registry.champion import journal_champion_version
from chronotope.registry.manual_promotion import promote_by_hand
from chronotope.registry.mlflow_store import open_store
from chronotope.registry.model_versions import download_version
from chronotope.runtime.step_cache import run_step, step_costs
from chronotope.runtime.workspace import Workspace

MOST: Final = 500
"""Events posted at a time."""

LEARNS: Final = FeedbackConfig(rate_limit_rows=1_000)
"""A round is weeks of traffic: an account may send more in it than in a night."""


@dataclass(frozen=True)
class Replay:
    """Replay below a root; finished steps are not repeated.

    Attributes:
        traffic: Events of the dataset.
        settings: Settings of the trainings.
        n_requests: Requests a round that are sent to the service.
        feedback: Settings of the feedback flow.
    """

    traffic: Traffic
    settings: TrainSettings
    n_requests: int
    feedback: FeedbackConfig = LEARNS

    @property
    def root(self) -> Path:
        """Root of all stores."""
        return self.settings.root

    @property
    def name(self) -> str:
        """Name of the dataset."""
        return self.traffic.spec.name

    @cached_property
    def judge(self) -> Judge:
        """Evaluator of all rounds."""
        return Judge.over(self.traffic, self.root / "whole")

    def begin(self) -> dict[str, Any]:
        """Train the first champion on the base; it is promoted even if the gate refuses it."""
        return run_step(self.root / "rounds", "base", dict[str, Any], self._first_champion)

    def play(self, number: int, live: Live) -> dict[str, Any]:
        """Play a round.

        Args:
            number: The first is 1.
            live: The running service.

        Returns:
            Served version, counts of posted and ingested events, decision, and metrics.
        """
        folder = self.root / "rounds" / f"{number:02d}"
        served = run_step(folder, "served", str, self._served_version)
        live.wait_for(served)
        posted = run_step(folder, "posted", dict[str, Any], self._tell, number, live)
        learned = run_step(folder, "learned", dict[str, Any], self._learn)
        metrics = run_step(
            folder, "evaluated", dict[str, Any], self._evaluated, number, served, folder
        )
        counts = run_step(folder, "counted", dict[str, int], self._count)
        costs = {step: cost.seconds for step, cost in step_costs(folder).items()}
        told = {"round": number, "version": served, **posted, **learned}
        return {**told, **counts, "lost": self._lost(number, counts), **metrics, "seconds": costs}

    def overall(self, numbers: list[int]) -> dict[str, Any]:
        """Metrics over the targets of all rounds."""
        folders = [self.root / "rounds" / f"{number:02d}" for number in numbers]
        served, frozen = (
            kept([folder / f"{who}.npz" for folder in folders]) for who in ("served", "frozen")
        )
        return compared(served, frozen)

    def _served_version(self) -> str:
        version = journal_champion_version(self.root, self.name)
        if version is None:
            raise RuntimeError("there is no champion")
        return version

    def _first_champion(self) -> dict[str, Any]:
        from flows.ingest_events import IngestSettings
        from flows.train_model import train_model

        spec = self.traffic.write_base(self.root)
        ingestion = IngestSettings(root=self.root, data_docs=False)
        found = train_model(str(spec), self.settings, ingestion)
        promotion = found.promotion
        if not promotion.promoted:
            promote_by_hand(self.root, self.name, promotion.version, "the replay needs a first")
        return {"version": promotion.version, "by_gate": promotion.promoted, **self._count()}

    def _tell(self, number: int, live: Live) -> dict[str, Any]:
        """Post a round's events in time order; request some predictions before their events."""
        waiting: list[dict[str, Any]] = []
        events = list(posts(self.traffic.round(number)))
        asked = {at * len(events) // max(1, self.n_requests) for at in range(self.n_requests)}
        n_hits = n_new = 0
        for at, event in enumerate(events):
            if at in asked or len(waiting) == MOST:
                n_new += _posted(waiting, live)
                waiting = []
            n_hits += at in asked and event[c.ITEM_ID] in _answered(event, live)
            waiting.append(event)
        n_new += _posted(waiting, live)
        return {"n_posted": len(events), "n_new": n_new, "n_requests": len(asked), "n_hits": n_hits}

    def _learn(self) -> dict[str, Any]:
        from flows.collect_feedback import collect_feedback
        from flows.ingest_events import IngestSettings

        ingestion = IngestSettings(root=self.root, data_docs=False)
        found = collect_feedback(str(self.root / SPEC), self.feedback, ingestion)
        counts = {"n_read", "n_new", "n_duplicates", "n_quarantined", "reasons"}
        promotion = found.promotion
        return {
            "intake": found.intake.model_dump(mode="json", include=counts),
            "decision": found.decision.model_dump(
                mode="json", include={"action", "mode", "reasons"}
            ),
            "promotion": None if promotion is None else promotion.model_dump(mode="json"),
        }

    def _evaluated(self, number: int, served: str, folder: Path) -> dict[str, Any]:
        start_s, end_s = self.traffic.cuts_s[number - 1 : number + 1]
        targets = self.judge.targets(start_s, end_s)
        store, first = open_store(Workspace(self.root).mlruns), self.begin()["version"]
        ours = self.judge.outcomes(download_version(store, self.name, served), targets)
        bundle = download_version(store, self.name, first)
        theirs = ours if served == first else self.judge.outcomes(bundle, targets)
        keep(folder / "served.npz", ours)
        keep(folder / "frozen.npz", theirs)
        return compared(ours, theirs)

    def _count(self) -> dict[str, int]:
        """Rows in the lake and in quarantine, one for each event."""
        lake = Lake(Workspace(self.root).lake(self.name))
        refused = lake.dataset("quarantine").count_rows() if lake.exists("quarantine") else 0
        return {"n_lake": lake.dataset("events").count_rows(), "n_quarantine": refused}

    def _lost(self, number: int, counts: dict[str, int]) -> int:
        """Events until the end of a round that are in neither table."""
        happened = len(self.traffic.base) + sum(
            len(self.traffic.round(n)) for n in range(1, number + 1)
        )
        return happened - counts["n_lake"] - counts["n_quarantine"]


def _posted(events: list[dict[str, Any]], live: Live) -> int:
    return int(live.post("/events", events)["n_new"]) if events else 0


def _answered(event: dict[str, Any], live: Live) -> set[str]:
    """The ten likeliest items at the time of an event, from the service."""
    question = {"user_id": event[c.USER_ID], "request_time": event[c.OCCURRED_AT], "k": 10}
    if c.UTC_OFFSET_MIN in event:
        question[c.UTC_OFFSET_MIN] = event[c.UTC_OFFSET_MIN]
    return {item["id"] for item in live.post("/recommend", question)["items"]}
