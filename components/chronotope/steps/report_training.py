"""Write the HTML report and the model card of a training."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from chronotope.report.data import (
    CandidateRow,
    CardText,
    Coverage,
    Estimate,
    GateDecision,
    IngestionCounts,
    ModelRow,
    ReportData,
    SliceRow,
    StepRow,
    WhenCalibration,
)
from chronotope.report.model_card import render_card
from chronotope.report.page import write_report
from chronotope.steps.judge_holdout import CHALLENGER
from chronotope.steps.once import step_costs
from chronotope.steps.settings import TrainSettings

SLICES = ("return", "discovery", "cold_user", "warm_user", "cold_item", "warm_item")


def report_training(
    run: Path,
    settings: TrainSettings,
    ingested: dict[str, Any],
    found: dict[str, dict[str, Any]],
) -> dict[str, str]:
    """Write ``report.html`` and ``card.md`` into the run's folder and the reports' folder.

    Args:
        run: Folder of the training.
        settings: What it was told.
        ingested: What ``ingest_events`` returned.
        found: Results of the steps ``compressed``, ``judged`` and ``promoted``.

    Returns:
        Paths of ``report`` and ``card``.
    """
    data = _data(run, settings, ingested, found)
    dataset = run.parent.name
    report = write_report(data, settings.workspace.reports() / f"{dataset}-{run.name}.html")
    card = run / "card.md"
    card.write_text(render_card(data), encoding="utf-8")
    return {"report": str(report), "card": str(card)}


def _data(
    run: Path,
    settings: TrainSettings,
    ingested: dict[str, Any],
    found: dict[str, dict[str, Any]],
) -> ReportData:
    judged, events = found["judged"], ingested["events"]
    challenger = judged["models"][CHALLENGER]
    return ReportData(
        dataset=run.parent.name,
        data_version=ingested["features"]["data_version"],
        protocol="holdout of the latest time, full catalogue, expected-rank ties, time given",
        seed=settings.training.seed,
        generated_at=datetime.now(UTC),
        models=tuple(_model_row(name, judged) for name in judged["models"]),
        slices=tuple(_slice_row(name, challenger) for name in SLICES if challenger[f"n_{name}"]),
        when=WhenCalibration(
            pit_counts=tuple(
                round(share * judged["when"]["n_targets"]) for share in judged["when"]["pit"]
            ),
            coverage=(Coverage(nominal=0.8, actual=judged["when"]["coverage_80"]),),
            nll=judged["when"]["nll"],
        ),
        candidates=_candidate_rows(found["compressed"]["candidates"]),
        steps=tuple(StepRow(name=step, **cost) for step, cost in step_costs(run).items()),
        ingestion=IngestionCounts(
            n_read=events["n_read"],
            n_good=events["n_good"],
            n_quarantined=events["n_quarantined"],
            quarantined=events["reasons"],
        ),
        noise={why: n for why, n in ingested["features"]["dropped"].items() if n},
        card=_card(run, ingested, challenger),
        gate=GateDecision(
            promoted=found["promoted"]["promoted"], reasons=tuple(found["promoted"]["reasons"])
        ),
    )


def _model_row(name: str, judged: dict[str, Any]) -> ModelRow:
    shown = ("acc_1", "acc_5", "acc_10", "ndcg_10", "mrr", "return_acc_10", "discovery_acc_10")
    metrics = {m: Estimate(value=v) for m, v in judged["models"][name].items() if m in shown}
    low, high = judged["intervals"][name]
    metrics["ndcg_10"] = Estimate(value=judged["models"][name]["ndcg_10"], low=low, high=high)
    return ModelRow(
        name="chronotope" if name == CHALLENGER else name,
        metrics=metrics,
        champion=name == CHALLENGER,
    )


def _slice_row(name: str, challenger: dict[str, float]) -> SliceRow:
    metrics = {"acc_10": challenger[f"{name}_acc_10"]}
    return SliceRow(name=name, n_targets=int(challenger[f"n_{name}"]), metrics=metrics)


def _candidate_rows(rows: list[dict[str, Any]]) -> tuple[CandidateRow, ...]:
    reference = rows[0]["ndcg"]
    return tuple(
        CandidateRow(
            name=row["name"],
            size_mb=row["size_mb"],
            p50_ms=row["p50_ms"],
            ndcg_loss=1 - row["ndcg"] / reference if reference else 0.0,
            chosen=row["chosen"],
        )
        for row in rows
    )


def _card(run: Path, ingested: dict[str, Any], challenger: dict[str, float]) -> CardText:
    features = ingested["features"]
    return CardText(
        intended_use="Rank what a user does next, when and where, from the user's own log.",
        training_data=(
            f"{run.parent.name}, {features['data_version']}: {features['n_kept']:,} events, "
            f"{features['n_users']:,} users, {features['n_items']:,} items."
        ),
        metrics=(
            f"NDCG@10 {challenger['ndcg_10']:.3f} "
            f"on {int(challenger['n_targets']):,} later targets."
        ),
        limits="Items never seen in training are not ranked; strangers get what is popular now.",
        ethics="Own history dominates the scores; watch exposure of rare items and of groups.",
    )
