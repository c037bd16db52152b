"""Results of the steps: frozen values that a run stores as JSON and the next step takes.

Order: search, columns, compression, evaluation, registration, promotion, report.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from chronotope.content.labels.label_report import LabelSummary
from chronotope.content.modality_report import EmbeddingSummary
from chronotope.content.modality_worth import ModalityWorth
from chronotope.contracts.validation_result import FailedExpectation
from chronotope.datasets.files.line_accounting import SourceReport
from chronotope.lake.repeated_rows import RepeatedRows
from chronotope.runtime.step_cache import StepCost


class StepResult(BaseModel):
    """Base of all results: frozen, JSON-serialisable, without unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SourceLines(StepResult):
    """Lines of the text files of a table; the first is the sum of the next six."""

    n_lines: int = Field(0, ge=0, description="Lines of the files")
    n_row_lines: int = Field(0, ge=0, description="Lines of the rows that were read")
    n_refused: int = Field(0, ge=0, description="Lines that are no rows, now in quarantine")
    n_header: int = Field(0, ge=0, description="Lines of headers")
    n_blank: int = Field(0, ge=0, description="Blank lines")
    n_comment: int = Field(0, ge=0, description="Comment lines")
    n_skipped: int = Field(0, ge=0, description="Lines left out by skip_rows, and Excel's sep=")
    n_rows: int = Field(0, ge=0, description="Rows that were read")
    n_multiline_rows: int = Field(0, ge=0, description="Rows over several lines")
    n_literal_quotes: int = Field(
        0, ge=0, description="Quotation marks that were read as plain characters"
    )

    @classmethod
    def from_report(cls, source_report: SourceReport) -> "SourceLines | None":
        """Counts of a table's text files; None if it has none."""
        return cls(**asdict(source_report.totals())) if source_report.files else None

    def by_label(self) -> dict[str, int]:
        """Counts to show: the lines of the files, then the parts that they are the sum of."""
        optional_counts = {
            "lines: refused": self.n_refused,
            "lines: blank": self.n_blank,
            "lines: comments": self.n_comment,
            "lines: skipped": self.n_skipped,
            "rows over several lines": self.n_multiline_rows,
            "quotation marks read as plain characters": self.n_literal_quotes,
        }
        return {
            "lines of the files": self.n_lines,
            "lines: header": self.n_header,
            "lines: rows": self.n_row_lines,
            **{label: n_lines for label, n_lines in optional_counts.items() if n_lines},
        }


class TableCounts(StepResult):
    """Rows of one table that was read."""

    n_read: int = Field(0, ge=0, description="Rows read, and refused lines of text files")
    n_good: int = Field(0, ge=0, description="Rows that passed their suite")
    n_quarantined: int = Field(0, ge=0, description="Rows and lines refused")
    reasons: dict[str, int] = Field(
        default_factory=dict, description="Refused rows and lines by reason; a row may have several"
    )
    lines: SourceLines | None = Field(None, description="Lines of the table's text files, if any")


class EventCounts(TableCounts):
    """Rows of a delivery of events; good + quarantined + dropped = read."""

    n_duplicates: int = Field(0, ge=0, description="Good rows that the lake had already")
    n_dropped: int = Field(0, ge=0, description="Rows dropped by the filters of the source")
    dropped: dict[str, int] = Field(
        default_factory=dict, description="Dropped rows by filter; the first that applies counts"
    )

    def event_counts(self) -> "EventCounts":
        """The counts alone, for a result that holds no more than them."""
        return EventCounts(**self.model_dump(include=set(EventCounts.model_fields)))


class EventsSummary(EventCounts):
    """Ingestion of a dataset's own log."""

    dataset: str = Field(description="Name of the dataset")
    delivery_id: str = Field(description="Name of the delivery; the same source has the same")
    identity: tuple[str, ...] = Field((), description="Columns that identify an event")
    repeated: RepeatedRows = Field(
        RepeatedRows(),
        description="Rows that repeat the identity of an earlier row of the delivery",
    )
    findings: tuple[FailedExpectation, ...] = Field((), description="Expectations that failed")
    version: int | None = Field(description="Version of the lake's events afterwards")
    first_refused: str = Field("", description="First refused row as JSON; empty if none is")
    data_docs_url: str | None = Field(None, description="Address of the data docs, if built")


class FeedbackSummary(EventCounts):
    """Intake of new interactions; new + duplicates + quarantined + dropped = read."""

    n_new: int = Field(ge=0, description="Events that the lake did not have")
    findings: tuple[str, ...] = Field((), description="Expectations that failed, as text")
    set_aside: dict[str, str] = Field(
        default_factory=dict, description="Files of the inbox not taken in, with the reason"
    )
    version: int | None = Field(description="Version of the lake's events; None if it is empty")


class FeatureSnapshot(StepResult):
    """Feature snapshot that models read, and the noise that was left out of it."""

    path: Path = Field(description="Folder of the snapshot")
    digest: str = Field(description="Digest of its content")
    data_version: str = Field(description="Versions of the lake's tables that it was made of")
    n_events: int = Field(ge=0, description="Events in the lake")
    n_kept: int = Field(ge=0, description="Events in the snapshot")
    dropped: dict[str, int] = Field(description="Events left out as noise, by filter")
    n_users: int = Field(ge=0, description="Users in the snapshot")
    n_items: int = Field(ge=0, description="Items in the snapshot")


class IngestionSummary(StepResult):
    """Result of the flow ``ingest-events``."""

    tables: dict[str, TableCounts] = Field(description="Rows of items, users and context readings")
    events: EventsSummary = Field(description="Rows of the log")
    features: FeatureSnapshot = Field(description="Snapshot for training")
    embeddings: EmbeddingSummary | None = Field(
        None, description="Encoded content of the items; None if the YAML configures none"
    )
    labels: LabelSummary | None = Field(
        None, description="Predicted labels of the items; None if the YAML asks for none"
    )


class TrainingData(StepResult):
    """Data of a training: row counts of its delivery, and its feature snapshot."""

    counts: EventCounts = Field(description="Rows of the delivery")
    features: FeatureSnapshot = Field(description="Snapshot that was trained on")


class SearchResult(StepResult):
    """Best trial of a hyper-parameter search."""

    params: dict[str, Any] = Field(description="Parameters of the best trial, by name")
    mean_ndcg: float = Field(description="Its NDCG@10, mean over the folds")
    trial_number: int = Field(ge=0, description="Finished trials before it")
    fold_ndcg: dict[str, tuple[float, ...]] = Field(description="NDCG@10 by model, earliest first")


class ColumnImportance(StepResult):
    """Permutation importance of a context column, with its 95 % interval."""

    name: str = Field(description="Name of the column")
    importance: float = Field(description="Reciprocal rank lost when the column is shuffled")
    low: float = Field(description="Lower end of the interval")
    high: float = Field(description="Upper end of the interval")


class ColumnSelection(StepResult):
    """Context columns and content that improve predictions of later time."""

    selected: tuple[str, ...] = Field((), description="Columns whose interval lies above zero")
    columns: tuple[ColumnImportance, ...] = Field((), description="All columns, measured")
    modalities: tuple[ModalityWorth, ...] = Field((), description="All kinds of content")

    def model_params(self) -> dict[str, bool | list[str]]:
        """Parameters of a model that reads what helps; nothing about content without any."""
        names = [worth.modality for worth in self.modalities if worth.helps]
        params: dict[str, bool | list[str]] = {"context": list(self.selected)}
        return params | {"content": bool(names), "modalities": names} if self.modalities else params


class InheritedParameters(StepResult):
    """Parameters that a run takes over from an earlier training instead of searching."""

    params: dict[str, Any] = Field(description="Parameters of the earlier training, by name")
    fold_ndcg: dict[str, tuple[float, ...]] = Field({}, description="NDCG@10 of its folds")
    columns: ColumnSelection = Field(ColumnSelection(), description="What it selected")


class CompressedCandidate(StepResult):
    """Cost and quality of one compressed candidate; without evaluation there is no quality."""

    name: str = Field(description="Name of its recipe")
    size_mb: float = Field(ge=0, description="Size of the graph's file, 10^6 bytes")
    p50_ms: float = Field(ge=0, description="Median latency of one query")
    p99_ms: float = Field(ge=0, description="99th percentile of the same")
    ndcg: float | None = Field(None, description="NDCG@10 on the selection targets")
    acc: float | None = Field(None, description="Acc@10 on the selection targets")
    batch_ms: float | None = Field(None, description="Median latency of 64 queries at once")
    queries_per_s: float | None = Field(None, description="Throughput in batches of 64")
    rss_mb: float | None = Field(None, description="Memory above bare ONNX Runtime")
    refused: str = Field("", description="Why it may not be shipped, however accurate")
    front: bool = Field(False, description="On the Pareto front of cost and quality")
    chosen: bool = Field(False, description="Selected by the objective")
    why_not: str = Field("", description="Why it was not selected")


class CompressionSummary(StepResult):
    """Candidates of a compression and the one that was selected."""

    bundle: Path = Field(description="Folder of the selected bundle")
    candidates: tuple[CompressedCandidate, ...] = Field(description="Uncompressed reference first")
    meets_objective: bool = Field(description="Whether the selected bundle meets the objective")
    reason: str = Field(description="Why it was selected")


class TimeEvaluation(StepResult):
    """Calibration of the predicted time to the next event, in hours."""

    nll: float = Field(description="Mean negative log density of the true gaps")
    mean_abs_log_error: float = Field(description="Mean |log median - log true gap|")
    coverage_80: float = Field(description="Share of gaps in the central 80 % interval")
    pit: tuple[float, ...] = Field(description="Share of targets by tenth of the distribution")
    n_targets: int = Field(ge=0, description="Number of targets")
    coverage: tuple[tuple[float, float], ...] = Field(
        description="Nominal level and actual share of central intervals"
    )


class PlaceEvaluation(StepResult):
    """Accuracy of predicted places."""

    accuracy: float = Field(description="Share of targets whose place was predicted exactly")
    median_km: float | None = Field(None, description="Median distance off; None if unknown")
    n_targets: int = Field(ge=0, description="Targets whose place is known")
    n_located: int = Field(ge=0, description="Targets with coordinates of both places")


class HoldoutEvaluation(StepResult):
    """Evaluation of the challenger and of every baseline on the same later targets."""

    metrics: dict[str, dict[str, float]] = Field(description="Metrics by model, then by name")
    ndcg_intervals: dict[str, tuple[float, float]] = Field(
        description="95 % interval of NDCG@10 by model; resamples users"
    )
    time: TimeEvaluation = Field(description="Time to the next event")
    places: dict[str, PlaceEvaluation] = Field(
        description="Next place, by model; empty for a catalogue without places"
    )


class RegisteredVersion(StepResult):
    """A version in the model registry."""

    name: str = Field(description="Name of the registered model: the dataset")
    version: str = Field(description="Number of the version")
    run_id: str = Field(description="MLflow run with its metrics and lineage")


class PromotionResult(RegisteredVersion):
    """Decision of gate and blessing on a registered version."""

    promoted: bool = Field(description="Whether the version is the champion now")
    reasons: tuple[str, ...] = Field(description="Why it stays challenger; empty if promoted")
    previous: str | None = Field(description="Champion before; None if there was none")


class WrittenReport(StepResult):
    """Files of a training's report."""

    report: Path = Field(description="Self-contained HTML page")
    card: Path = Field(description="Model card, Markdown")


class TrainingSummary(StepResult):
    """Results that the report of a training shows."""

    fold_ndcg: dict[str, tuple[float, ...]] = Field(description="NDCG@10 by model and fold")
    columns: ColumnSelection = Field(description="Context columns")
    compression: CompressionSummary = Field(description="Candidates and selection")
    evaluation: HoldoutEvaluation = Field(description="Metrics on the holdout")
    promotion: PromotionResult = Field(description="Decision of the gate")
    ingestion_cost: StepCost | None = Field(None, description="Cost of the ingestion before")
    searched: dict[str, Any] = Field({}, description="Best hyper-parameters of the search")


class TrainingResult(StepResult):
    """Result of the flow ``train-model``."""

    ingestion: IngestionSummary = Field(description="Rows and feature snapshot")
    search: SearchResult = Field(description="Best hyper-parameters")
    columns: ColumnSelection = Field(description="Context columns")
    compression: CompressionSummary = Field(description="Candidates and selected bundle")
    evaluation: HoldoutEvaluation = Field(description="Metrics on the holdout")
    promotion: PromotionResult = Field(description="Decision of the gate")
    report: WrittenReport = Field(description="Report and model card")
    costs: dict[str, StepCost] = Field(description="Seconds and peak memory by step")


class RecompressionResult(StepResult):
    """Result of the flow ``compress-model``; without a registration the last three are None."""

    version: str = Field(description="Version whose network was compressed again")
    compression: CompressionSummary = Field(description="Candidates and selected bundle")
    stop_reason: str = Field(description="Why nothing was registered; empty if a version was")
    evaluation: HoldoutEvaluation | None = Field(None, description="Metrics on the holdout")
    promotion: PromotionResult | None = Field(None, description="Decision of the gate")
    report: WrittenReport | None = Field(None, description="Report and model card")


class SelectionPreview(StepResult):
    """Candidate that an objective would select among those measured already."""

    version: str = Field(description="Version whose candidates are compared")
    candidates: tuple[CompressedCandidate, ...] = Field(description="Candidates with reasons")
    reason: str = Field(description="Why the selected one would be selected")


class RetrainingInputs(StepResult):
    """Folders and cut-off that a retraining starts from."""

    features: Path = Field(description="Feature snapshot to train on")
    run_dir: Path = Field(description="Folder of the retraining")
    champion_run_dir: Path = Field(description="Folder of the champion's training")
    champion_features: Path = Field(description="Feature snapshot of the champion's training")
    champion_trained_until_s: int = Field(
        description="Last event of the champion's training, UTC seconds"
    )


class Predictor(StepResult):
    """Registered version that predicts in a backtest."""

    version: str = Field(description="Number of the version")
    bundle: Path = Field(description="Folder of its bundle")
    trained_until_s: int = Field(description="Last event of its training, UTC seconds")


class ChunkMetrics(StepResult):
    """Predict-then-update metrics of one chunk of a backtest; None without targets."""

    n_events: int = Field(ge=0, description="Events of the chunk")
    n_targets: int = Field(ge=0, description="Predicted events: those with a history, thinned")
    n_return: int = Field(ge=0, description="Targets whose item the user has had before")
    n_discovery: int = Field(ge=0, description="Targets whose item is new to the user")
    seen: bool = Field(description="Whether the predictor was trained on time of the chunk")
    acc_1: float | None = Field(description="Acc@1")
    acc_10: float | None = Field(description="Acc@10")
    ndcg_10: float | None = Field(description="NDCG@10")
    mrr: float | None = Field(description="Mean reciprocal rank")
    return_acc_10: float | None = Field(description="Acc@10 of returns")
    discovery_acc_10: float | None = Field(description="Acc@10 of discoveries")


class ChunkCounts(StepResult):
    """Rows of one chunk of a backtest; new + duplicates + quarantined + dropped = read."""

    n_read: int = Field(0, ge=0, description="Rows read")
    n_new: int = Field(0, ge=0, description="Events that the lake did not have")
    n_duplicates: int = Field(0, ge=0, description="Events that the lake had")
    n_quarantined: int = Field(0, ge=0, description="Rows refused")
    n_dropped: int = Field(0, ge=0, description="Rows dropped by the filters of the source")


class ChunkResult(StepResult):
    """One replayed chunk of a backtest."""

    chunk: int = Field(ge=1, description="Number of the chunk")
    start: str = Field(description="Begin, UTC, to the minute")
    end: str = Field(description="End, excluded, UTC, to the minute")
    counts: ChunkCounts = Field(description="Rows that were ingested")
    metrics: ChunkMetrics = Field(description="Quality of the predictions")
    events_version: str = Field(description="Version of the lake's events afterwards")

    def row(self) -> dict[str, Any]:
        """Flat row of the chunk's table: period, counts, metrics."""
        period = self.model_dump(include={"chunk", "start", "end"})
        return {**period, **self.counts.model_dump(), **self.metrics.model_dump()}


class BacktestFiles(StepResult):
    """Files of a backtest."""

    page: Path = Field(description="HTML page")
    table: Path = Field(description="CSV, a row a chunk")


class BacktestSummary(StepResult):
    """Result of the flow ``backfill-events``."""

    version: str = Field(description="Version that predicted")
    chunks: tuple[ChunkResult, ...] = Field(description="Counts and metrics of each chunk")
    mean_metrics: dict[str, float | None] = Field(
        description="Means over targets of all chunks that were not seen in training"
    )
    files: BacktestFiles = Field(description="Page and table")
    run_id: str = Field(description="MLflow run with the metrics over time")
