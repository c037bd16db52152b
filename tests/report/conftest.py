from datetime import UTC, datetime

import pytest

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


@pytest.fixture
def bare() -> ReportData:
    return ReportData(
        dataset="nyc",
        data_version="7",
        protocol="stream, time given",
        seed=3,
        generated_at=datetime(2024, 5, 1, 12, 30, tzinfo=UTC),
    )


@pytest.fixture
def full(bare: ReportData) -> ReportData:
    champion = {
        "ndcg_10": Estimate(value=0.5124, low=0.501, high=0.523),
        "mrr": Estimate(value=0.4),
    }
    return bare.model_copy(
        update={
            "models": (
                ModelRow(name="popularity", metrics={"ndcg_10": Estimate(value=0.0411)}),
                ModelRow(name="spacetime", metrics=champion, champion=True),
            ),
            "folds": (FoldRow(fold=0, model="spacetime", value=0.498),),
            "slices": (SliceRow(name="cold users", n_targets=1234, metrics={"acc_10": 0.125}),),
            "columns": (
                ColumnRow(name="rain", lost=Estimate(value=0.031, low=0.02, high=0.04), kept=True),
                ColumnRow(name="moon<", lost=Estimate(value=0.0, low=-0.1, high=0.1), kept=False),
            ),
            "when": WhenCalibration(
                pit_counts=(10, 20, 30), coverage=(Coverage(nominal=0.8, actual=0.773),), nll=3.78
            ),
            "where": (
                WhereRow(name="spacetime", accuracy=0.417, median_km=1.238, n_targets=2000),
                WhereRow(name="last place", accuracy=0.2, n_targets=2000),
            ),
            "map_points": (
                MapPoint(lat=40.7, lon=-74.0, weight=4, hit_share=0.1),
                MapPoint(lat=40.8, lon=-73.9, weight=1, hit_share=1.0),
            ),
            "candidates": (
                CandidateRow(name="float32", size_mb=9.0, p50_ms=1.4, ndcg=0.55, ndcg_loss=0.0),
                CandidateRow(
                    name="int8",
                    size_mb=3.2,
                    p50_ms=1.5,
                    ndcg=0.5496,
                    ndcg_loss=0.0004,
                    queries_per_s=1250.0,
                    rss_mb=31.25,
                    front=True,
                    chosen=True,
                ),
                CandidateRow(name="fp16", size_mb=5.0, p50_ms=1.5, why_not="larger than <int8>"),
            ),
            "objective": Objective(
                max_ndcg_loss=0.01, max_latency_ms=50, max_size_mb=4, reason="int8 is the smallest"
            ),
            "steps": (StepRow(name="train", seconds=61.25, peak_mb=900),),
            "ingestion": IngestionCounts(
                n_read=100, n_good=97, n_quarantined=3, quarantined={"swapped": 3}
            ),
            "noise": {"duplicates": 5},
            "card": CardText(intended_use="Next place.", limits="One city.", ethics="Consent."),
            "gate": GateSummary(promoted=True, reasons=("beats popularity",)),
        }
    )
