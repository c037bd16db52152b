"""Write the HTML report and the model card of a training."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from chronotope.pipelines.evaluate_holdout import SPOTS
from chronotope.pipelines.holdout import CHALLENGER
from chronotope.pipelines.settings import TrainSettings
from chronotope.report.model_card import render_card
from chronotope.report.page import write_report
from chronotope.report.plots import write_plots
from chronotope.report.report_data import (
    CandidateRow,
    CardText,
    ColumnRow,
    Coverage,
    Estimate,
    FoldRow,
    GateSummary,
    IngestionCounts,
    MapPoint,
    ModelRow,
    Objective,
    ReportData,
    SliceRow,
    StepRow,
    WhenCalibration,
    WhereRow,
)
from chronotope.runtime.durable_files import write_json, write_text
from chronotope.runtime.step_cache import step_costs
from chronotope.runtime.stored_arrays import load_arrays

INGESTED = "ingested.json"
"""File of a run with what the ingestion of its data counted."""

SLICES = ("return", "discovery", "cold_user", "warm_user", "cold_item", "warm_item")


def report_training(
    run: Path,
    settings: TrainSettings,
    ingested: dict[str, Any],
    found: dict[str, dict[str, Any]],
) -> dict[str, str]:
    """Write the report among the reports, and all there is to look at into ``<run>/report``.

    Args:
        run: Folder of the training.
        settings: What it was told.
        ingested: What ``ingest_events`` returned.
        found: Results of the steps ``tuned``, ``selected``, ``compressed``, ``judged`` and
            ``promoted``; ``ingesting``, if there, is what the ingestion cost (``seconds``,
            ``peak_mb``).

    Returns:
        Paths of ``report`` and ``card``.
    """
    data = _data(run, settings, ingested, found)
    dataset = run.parent.name
    report = write_report(data, settings.workspace.reports() / f"{dataset}-{run.name}.html")
    folder = run / "report"
    write_report(data, folder / "report.html")
    write_plots(data, folder / "plots")
    card = folder / "card.md"
    write_text(card, render_card(data))
    write_text(folder / "metrics.json", json.dumps(found["judged"], indent=2))
    write_json(run / INGESTED, ingested)
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
        folds=_fold_rows(found["tuned"]["folds"]),
        slices=tuple(_slice_row(name, challenger) for name in SLICES if challenger[f"n_{name}"]),
        columns=_column_rows(found["selected"]),
        when=_when(judged["when"]),
        where=tuple(
            WhereRow(
                name=_shown(name),
                accuracy=told["accuracy"],
                median_km=told.get("median_km"),
                n_targets=int(told["n_targets"]),
            )
            for name, told in judged["where"].items()
        ),
        map_points=_map_points(run),
        candidates=_candidate_rows(found["compressed"]["candidates"]),
        objective=_objective(settings, found["compressed"]),
        steps=_step_rows(run, found.get("ingesting")),
        ingestion=IngestionCounts(
            n_read=events["n_read"],
            n_good=events["n_good"],
            n_quarantined=events["n_quarantined"],
            quarantined=events["reasons"],
        ),
        noise={why: n for why, n in ingested["features"]["dropped"].items() if n},
        card=_card(run, ingested, challenger),
        gate=GateSummary(
            promoted=found["promoted"]["promoted"], reasons=tuple(found["promoted"]["reasons"])
        ),
    )


def _model_row(name: str, judged: dict[str, Any]) -> ModelRow:
    shown = ("acc_1", "acc_5", "acc_10", "ndcg_10", "mrr", "return_acc_10", "discovery_acc_10")
    metrics = {m: Estimate(value=v) for m, v in judged["models"][name].items() if m in shown}
    low, high = judged["intervals"][name]
    metrics["ndcg_10"] = Estimate(value=judged["models"][name]["ndcg_10"], low=low, high=high)
    return ModelRow(
        name=_shown(name),
        metrics=metrics,
        champion=name == CHALLENGER,
    )


def _shown(name: str) -> str:
    return "chronotope" if name == CHALLENGER else name


def _fold_rows(values: dict[str, list[float]]) -> tuple[FoldRow, ...]:
    return tuple(
        FoldRow(fold=fold, model=_shown(name), value=value)
        for name, of in values.items()
        for fold, value in enumerate(of)
    )


def _column_rows(selected: dict[str, Any]) -> tuple[ColumnRow, ...]:
    return tuple(
        ColumnRow(
            name=row["name"],
            lost=Estimate(value=row["lost"], low=row["low"], high=row["high"]),
            kept=row["name"] in selected["kept"],
        )
        for row in selected["columns"]
    )


def _when(judged: dict[str, Any]) -> WhenCalibration:
    return WhenCalibration(
        pit_counts=tuple(round(share * judged["n_targets"]) for share in judged["pit"]),
        coverage=tuple(
            Coverage(nominal=nominal, actual=actual) for nominal, actual in judged["coverage"]
        ),
        nll=judged["nll"],
    )


def _map_points(run: Path) -> tuple[MapPoint, ...]:
    return tuple(
        MapPoint(lat=lat, lon=lon, weight=weight, hit_share=share)
        for lat, lon, weight, share in load_arrays(run / SPOTS)["spots"].tolist()
    )


def _step_rows(run: Path, ingesting: dict[str, float] | None) -> tuple[StepRow, ...]:
    costs = step_costs(run)
    if ingesting is not None:
        costs = {"ingest_events": ingesting, **costs}
    return tuple(StepRow(name=step, **cost) for step, cost in costs.items())


def _slice_row(name: str, challenger: dict[str, float]) -> SliceRow:
    metrics = {"acc_10": challenger[f"{name}_acc_10"]}
    return SliceRow(name=name, n_targets=int(challenger[f"n_{name}"]), metrics=metrics)


def _candidate_rows(rows: list[dict[str, Any]]) -> tuple[CandidateRow, ...]:
    reference = rows[0]["ndcg"]
    return tuple(
        CandidateRow(**row, ndcg_loss=None if row["ndcg"] is None else reference - row["ndcg"])
        for row in rows
    )


def _objective(settings: TrainSettings, compressed: dict[str, Any]) -> Objective:
    told = settings.compression
    return Objective(
        max_ndcg_loss=told.max_ndcg_loss,
        max_latency_ms=told.max_latency_ms,
        max_size_mb=told.max_size_mb,
        reason=compressed["reason"],
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
