"""HTML report and model card of a training."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from chronotope.content.column_worth import read_worth
from chronotope.content.item_map import lay_out, mapped_items
from chronotope.content.labels.used_labels import label_counts
from chronotope.content.summaries.stored_summaries import read_summaries
from chronotope.contracts import columns as c
from chronotope.features.snapshot import load_features
from chronotope.lake import Lake
from chronotope.metrics import BASKET_METRICS
from chronotope.pipelines.evaluate_holdout import MAP_POINTS_FILE
from chronotope.pipelines.federated.summary import federation_rows, federation_text
from chronotope.pipelines.holdout import CHALLENGER
from chronotope.pipelines.responsibility.card_text import card_text
from chronotope.pipelines.responsibility.data_facts import data_facts
from chronotope.pipelines.responsibility.partial_dependence import holdout_dependences
from chronotope.pipelines.results import (
    ColumnSelection,
    CompressedCandidate,
    CompressionSummary,
    EventCounts,
    HoldoutEvaluation,
    TimeEvaluation,
    TrainingData,
    TrainingSummary,
    WrittenReport,
)
from chronotope.pipelines.settings import TrainSettings
from chronotope.pipelines.train import ITEM_CONTEXT_FILE
from chronotope.pipelines.trust.config import budget_text
from chronotope.pipelines.trust.report_rows import attack_rows, exposure_rows, group_rows
from chronotope.pipelines.trust.results import read_trust
from chronotope.report import page
from chronotope.report.item_context_section import item_context_rows
from chronotope.report.item_space_section import N_COLOURS
from chronotope.report.model_card import render_card
from chronotope.report.plots import write_plots
from chronotope.report.report_data import (
    CandidateRow,
    ColumnRow,
    Coverage,
    Estimate,
    FoldRow,
    GateSummary,
    IngestionCounts,
    ItemPoint,
    LabelRow,
    MapPoint,
    ModelRow,
    Objective,
    ReportData,
    SliceRow,
    StepRow,
    SummaryRow,
    WhenCalibration,
    WhereRow,
)
from chronotope.report.responsibility.data_card import render_data_card
from chronotope.runtime.durable_files import write_json, write_text
from chronotope.runtime.step_cache import StepCost, step_costs
from chronotope.runtime.stored_arrays import load_arrays

TRAINING_DATA_FILE: Final = "training_data.json"
"""File of a run with the counts of its delivery and its feature snapshot."""

INGESTION_STEP: Final = "ingest_events"
"""Name of the ingestion among the costs of the steps."""

SLICES: Final = ("return", "discovery", "cold_user", "warm_user", "cold_item", "warm_item")

_SHOWN_SUMMARIES: Final = 5
"""Summaries that the report shows as examples."""

_MODEL_METRICS: Final = (
    "acc_1", "acc_5", "acc_10", "ndcg_10", "mrr", "return_acc_10", "discovery_acc_10",
    "new_only_acc_10", "new_only_ndcg_10",
)  # fmt: skip


def write_report(
    run_dir: Path, settings: TrainSettings, data: TrainingData, summary: TrainingSummary
) -> WrittenReport:
    """Write the report below the reports, and report, card, plots and metrics into the run.

    Args:
        run_dir: Folder of the training.
        settings: Its settings.
        data: Counts of its delivery and its feature snapshot.
        summary: Results of its steps.
    """
    report_data = _report_data(run_dir, settings, data, summary)
    report_name = f"{run_dir.parent.name}-{run_dir.name}.html"
    report_path = page.write_report(report_data, settings.workspace.reports() / report_name)
    report_dir = run_dir / "report"
    page.write_report(report_data, report_dir / "report.html")
    write_plots(report_data, report_dir / "plots")
    card_path = report_dir / "card.md"
    write_text(card_path, render_card(report_data))
    write_text(report_dir / "data_card.md", render_data_card(report_data))
    write_text(report_dir / "metrics.json", summary.evaluation.model_dump_json(indent=2))
    write_json(run_dir / TRAINING_DATA_FILE, data.model_dump(mode="json"))
    return WrittenReport(report=report_path, card=card_path)


def _report_data(
    run_dir: Path, settings: TrainSettings, data: TrainingData, summary: TrainingSummary
) -> ReportData:
    evaluation_result, promotion = summary.evaluation, summary.promotion
    challenger_metrics = evaluation_result.metrics[CHALLENGER]
    item_points, item_groups = _item_map(data.features.path)
    item_lake = Lake(settings.workspace.lake(run_dir.parent.name))
    trust = read_trust(run_dir)
    return ReportData(
        dataset=run_dir.parent.name,
        data_version=data.features.data_version,
        protocol="holdout of the latest time, full catalogue, expected-rank ties, time given",
        seed=settings.training.seed,
        generated_at=datetime.now(UTC),
        models=tuple(_model_row(name, evaluation_result) for name in evaluation_result.metrics),
        next_basket=_next_basket_rows(evaluation_result),
        folds=_fold_rows(summary.fold_ndcg),
        slices=tuple(
            _slice_row(name, challenger_metrics)
            for name in SLICES
            if challenger_metrics[f"n_{name}"]
        ),
        columns=_column_rows(summary.columns),
        modalities=_modality_rows(summary.columns),
        item_context=item_context_rows(read_worth(run_dir / ITEM_CONTEXT_FILE)),
        when=_time_calibration(evaluation_result.time),
        where=_place_rows(evaluation_result),
        map_points=_map_points(run_dir),
        item_points=item_points,
        item_groups=item_groups,
        candidates=_candidate_rows(summary.compression.candidates),
        objective=_objective(settings, summary.compression),
        steps=_step_rows(run_dir, summary.ingestion_cost),
        ingestion=_ingestion_counts(data.counts),
        noise={reason: count for reason, count in data.features.dropped.items() if count},
        dependences=holdout_dependences(
            data.features.path, settings, run_dir, summary.compression.bundle
        ),
        data_facts=data_facts(run_dir.parent.name, data.features.path),
        card=card_text(
            run_dir.parent.name,
            data.features,
            challenger_metrics,
            step_costs(run_dir),
            budget=federation_text(run_dir) or budget_text(settings.privacy),
        ),
        gate=GateSummary(promoted=promotion.promoted, reasons=promotion.reasons),
        augmentation=augmentation_text(settings, summary.searched),
        attacks=attack_rows(trust.membership),
        groups=group_rows(trust.fairness),
        min_group_users=settings.min_group_users,
        exposure=exposure_rows(trust.fairness),
        federation=federation_text(run_dir),
        federation_rounds=federation_rows(run_dir),
        labels=_label_rows(item_lake),
        summaries=_summary_rows(item_lake),
    )


def augmentation_text(settings: TrainSettings, searched: Mapping[str, object]) -> str:
    """What the search decided on the augmentation, for the report; "" if none was searched.

    Args:
        settings: Kinds that were searched.
        searched: Best hyper-parameters.
    """
    kind = searched.get("augmentation_kind")
    if not settings.augmentations or kind is None:
        return ""
    choices = ", ".join(dict.fromkeys(("none", *settings.augmentations)))
    if kind == "none":
        return f"Of {choices}, none was best on the later folds: no augmentation is used."
    users = "sparse users only" if searched.get("augmentation_sparse_only") else "all users"
    return (
        f"Of {choices}, {kind} was best on the later folds: amount "
        f"{searched.get('augmentation_amount'):.2f}, {users}. Targets are real events."
    )


def _label_rows(item_lake: Lake) -> tuple[LabelRow, ...]:
    return tuple(LabelRow(**asdict(counts)) for counts in label_counts(item_lake))


def _summary_rows(item_lake: Lake) -> tuple[SummaryRow, ...]:
    """The first summaries by item, with the items' titles."""
    summaries = read_summaries(item_lake)
    item_ids = sorted(summaries)[:_SHOWN_SUMMARIES]
    if not item_ids:
        return ()
    items = item_lake.read("items", columns=[c.ITEM_ID, c.TITLE])
    shown_items = items.filter(pc.is_in(items.column(c.ITEM_ID), value_set=pa.array(item_ids)))
    titles = {row[c.ITEM_ID]: row[c.TITLE] for row in shown_items.to_pylist()}
    return tuple(
        SummaryRow(item=titles.get(item_id) or item_id, summary=summaries[item_id])
        for item_id in item_ids
    )


def _model_row(name: str, evaluation: HoldoutEvaluation) -> ModelRow:
    model_metrics = evaluation.metrics[name]
    low, high = evaluation.ndcg_intervals[name]
    estimates = {
        metric: Estimate(value=value)
        for metric, value in model_metrics.items()
        if metric in _MODEL_METRICS
    }
    estimates["ndcg_10"] = Estimate(value=model_metrics["ndcg_10"], low=low, high=high)
    return ModelRow(name=_display_name(name), metrics=estimates, champion=name == CHALLENGER)


def _next_basket_rows(evaluation: HoldoutEvaluation) -> tuple[ModelRow, ...]:
    """Metrics of whole baskets by model; empty where the log has no baskets."""
    estimates_by_model = {
        name: {
            metric: Estimate(value=metrics[metric])
            for metric in BASKET_METRICS
            if metric in metrics
        }
        for name, metrics in evaluation.metrics.items()
    }
    return tuple(
        ModelRow(name=_display_name(name), metrics=estimates, champion=name == CHALLENGER)
        for name, estimates in estimates_by_model.items()
        if estimates
    )


def _display_name(model_name: str) -> str:
    return "chronotope" if model_name == CHALLENGER else model_name


def _fold_rows(fold_ndcg: dict[str, tuple[float, ...]]) -> tuple[FoldRow, ...]:
    return tuple(
        FoldRow(fold=fold_idx, model=_display_name(name), value=value)
        for name, values in fold_ndcg.items()
        for fold_idx, value in enumerate(values)
    )


def _column_rows(selection: ColumnSelection) -> tuple[ColumnRow, ...]:
    return tuple(
        ColumnRow(
            name=column.name,
            lost=Estimate(value=column.importance, low=column.low, high=column.high),
            kept=column.name in selection.selected,
        )
        for column in selection.columns
    )


def _modality_rows(selection: ColumnSelection) -> tuple[ColumnRow, ...]:
    return tuple(
        ColumnRow(
            name=f"{worth.modality}, {label}",
            lost=Estimate(value=interval.value, low=interval.low, high=interval.high),
            kept=worth.helps,
        )
        for worth in selection.modalities
        for label, interval in worth.by_label().items()
    )


def _time_calibration(evaluation: TimeEvaluation) -> WhenCalibration:
    return WhenCalibration(
        pit_counts=tuple(round(share * evaluation.n_targets) for share in evaluation.pit),
        coverage=tuple(
            Coverage(nominal=nominal, actual=actual) for nominal, actual in evaluation.coverage
        ),
        nll=evaluation.nll,
    )


def _place_rows(evaluation: HoldoutEvaluation) -> tuple[WhereRow, ...]:
    return tuple(
        WhereRow(
            name=_display_name(name),
            accuracy=place.accuracy,
            median_km=place.median_km,
            n_targets=place.n_targets,
        )
        for name, place in evaluation.places.items()
    )


def _map_points(run_dir: Path) -> tuple[MapPoint, ...]:
    points = load_arrays(run_dir / MAP_POINTS_FILE)["map_points"]  # (n_points, 4)
    return tuple(
        MapPoint(lat=lat_deg, lon=lon_deg, weight=n_targets, hit_share=hit_share)
        for lat_deg, lon_deg, n_targets, hit_share in points.tolist()
    )


def _item_map(features: Path) -> tuple[tuple[ItemPoint, ...], tuple[str, ...]]:
    """Points of the map of items, and the names of its colours; empty without content."""
    log, item_catalog = load_features(features)
    if item_catalog.content is None:
        return (), ()
    n_events = np.bincount(log.item_idx, minlength=item_catalog.n_items)
    item_idx = mapped_items(item_catalog.content, n_events)
    categories = item_catalog.categories.names(item_catalog.item_category[item_idx])
    groups = [re.split(r"[|,;/>]", category or "")[0].strip() for category in categories]
    counts = Counter(group for group in groups if group)
    names = [group for group, _ in counts.most_common(N_COLOURS - 1)]
    colour_of = {name: colour for colour, name in enumerate(names)}
    titles, ids = item_catalog.item_title, item_catalog.items.names(item_idx)
    coordinates = lay_out(item_catalog.content, item_idx).tolist()
    points = tuple(
        ItemPoint(
            x=x,
            y=y,
            weight=int(n_events[idx]),
            colour=colour_of.get(group, len(names)),
            label=(str(titles[idx]) if len(titles) else "") or str(name),
        )
        for idx, name, group, (x, y) in zip(
            item_idx.tolist(), ids, groups, coordinates, strict=True
        )
    )
    return points, (*names, "other")


def _step_rows(run_dir: Path, ingestion_cost: StepCost | None) -> tuple[StepRow, ...]:
    costs = step_costs(run_dir)
    if ingestion_cost is not None:
        costs = {INGESTION_STEP: ingestion_cost, **costs}
    return tuple(
        StepRow(name=step_name, seconds=cost.seconds, peak_mb=cost.peak_mb)
        for step_name, cost in costs.items()
    )


def _slice_row(name: str, challenger_metrics: dict[str, float]) -> SliceRow:
    metrics = {"acc_10": challenger_metrics[f"{name}_acc_10"]}
    return SliceRow(name=name, n_targets=int(challenger_metrics[f"n_{name}"]), metrics=metrics)


def _candidate_rows(candidates: tuple[CompressedCandidate, ...]) -> tuple[CandidateRow, ...]:
    reference_ndcg = candidates[0].ndcg
    return tuple(
        CandidateRow(
            **candidate.model_dump(),
            ndcg_loss=None
            if candidate.ndcg is None or reference_ndcg is None
            else reference_ndcg - candidate.ndcg,
        )
        for candidate in candidates
    )


def _objective(settings: TrainSettings, compression: CompressionSummary) -> Objective:
    config = settings.compression
    return Objective(
        max_ndcg_loss=config.max_ndcg_loss,
        max_latency_ms=config.max_latency_ms,
        max_size_mb=config.max_size_mb,
        reason=compression.reason,
    )


def _ingestion_counts(counts: EventCounts) -> IngestionCounts:
    return IngestionCounts(
        n_read=counts.n_read,
        n_good=counts.n_good,
        n_quarantined=counts.n_quarantined,
        n_dropped=counts.n_dropped,
        quarantined=counts.reasons,
        dropped=counts.dropped,
    )
