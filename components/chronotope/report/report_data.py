"""Data of a training report: frozen values that the pipeline fills."""

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Estimate(_Frozen):
    """One measured number with its 95 % interval, if there is one."""

    value: float = Field(description="Measured value; NaN without observations")
    low: float | None = Field(default=None, description="Lower end of the 95 % interval")
    high: float | None = Field(default=None, description="Upper end of the 95 % interval")


class ModelRow(_Frozen):
    """One model and its metrics, such as acc_1, ndcg_10, mrr or return_acc_10."""

    name: str
    metrics: dict[str, Estimate]
    champion: bool = Field(default=False, description="Chosen model; highlighted")


class FoldRow(_Frozen):
    """Value of the main metric for one model in one rolling-origin fold."""

    fold: int = Field(ge=0)
    model: str
    value: float


class SliceRow(_Frozen):
    """Metrics of the champion on one slice of the targets, such as returns or cold users."""

    name: str
    n_targets: int = Field(ge=0)
    metrics: dict[str, float]


class ColumnRow(_Frozen):
    """Permutation importance of a context column or a kind of content: MRR lost by shuffling."""

    name: str
    lost: Estimate
    kept: bool


class Coverage(_Frozen):
    """Empirical coverage of prediction intervals at a nominal level."""

    nominal: float = Field(ge=0, le=1)
    actual: float = Field(ge=0, le=1)


class WhenCalibration(_Frozen):
    """Calibration of the predicted time of the next event."""

    pit_counts: tuple[int, ...] = Field(
        default=(), description="Counts of F(t) in equal bins of [0, 1]; flat if calibrated"
    )
    coverage: tuple[Coverage, ...] = ()
    nll: float | None = Field(
        default=None, description="Mean negative log-likelihood of the hours to the next event"
    )


class WhereRow(_Frozen):
    """Accuracy and distance error of the predicted places of one method."""

    name: str
    accuracy: float = Field(ge=0, le=1, description="Share of targets whose place was predicted")
    median_km: float | None = Field(default=None, ge=0, description="Median distance error")
    n_targets: int = Field(ge=0)


class MapPoint(_Frozen):
    """Targets around one point, in WGS 84 degrees."""

    lat: float = Field(ge=-90, le=90)
    lon: float = Field(ge=-180, le=180)
    weight: float = Field(gt=0, allow_inf_nan=False, description="Number of targets here")
    hit_share: float = Field(ge=0, le=1, description="Accuracy of the champion on them")


class CandidateRow(_Frozen):
    """Measurements of one compressed artefact; accuracy is absent if it was not evaluated."""

    name: str
    size_mb: float = Field(ge=0)
    p50_ms: float = Field(ge=0, description="Median latency of one request in milliseconds")
    p99_ms: float | None = Field(default=None, ge=0, description="99th percentile of the latency")
    ndcg: float | None = Field(default=None, description="NDCG@10 on the selection data")
    ndcg_loss: float | None = Field(
        default=None, description="NDCG@10 lost against the full model, absolute"
    )
    acc: float | None = Field(default=None, description="Acc@10 on the same data")
    batch_ms: float | None = Field(default=None, ge=0, description="Median time of a batch of 64")
    queries_per_s: float | None = Field(default=None, ge=0, description="Throughput, batch 64")
    rss_mb: float | None = Field(
        default=None, description="Memory of a clean process above bare ONNX Runtime"
    )
    refused: str = Field(default="", description="Reason that it may not be deployed")
    front: bool = Field(default=False, description="Member of the Pareto front")
    chosen: bool = False
    why_not: str = Field(default="", description="Reason against it")


class Objective(_Frozen):
    """Limits on a compressed model, and the reason for the choice."""

    max_ndcg_loss: float = Field(ge=0)
    max_latency_ms: float = Field(gt=0)
    max_size_mb: float = Field(gt=0)
    reason: str = Field(default="", description="Reason for the chosen candidate")


class StepRow(_Frozen):
    """Duration of one step of the run."""

    name: str
    seconds: float = Field(ge=0)
    peak_mb: float | None = Field(default=None, ge=0, description="Peak resident memory")


class IngestionCounts(_Frozen):
    """Row counts of the ingestion: good + quarantined + dropped = read."""

    n_read: int = Field(ge=0)
    n_good: int = Field(ge=0)
    n_quarantined: int = Field(ge=0)
    n_dropped: int = Field(default=0, ge=0)
    quarantined: dict[str, int] = Field(default_factory=dict, description="Rows by reason")
    dropped: dict[str, int] = Field(default_factory=dict, description="Rows by filter")


class CardText(_Frozen):
    """Texts of the model card."""

    intended_use: str = ""
    training_data: str = ""
    metrics: str = ""
    groups: str = ""
    limits: str = ""
    ethics: str = ""
    privacy: str = ""
    oversight: str = ""
    energy: str = ""


class DependenceCurve(_Frozen):
    """Mean predictions with one quantity set to each of some values."""

    quantity: str
    steps: tuple[str, ...] = Field(description="Values of the quantity")
    lines: dict[str, tuple[float | None, ...]] = Field(description="One value a step, by name")
    note: str


class GateSummary(_Frozen):
    """Decision of the promotion gate, with its reasons."""

    promoted: bool
    reasons: tuple[str, ...] = ()


class LabelRow(_Frozen):
    """Labels of one column of the catalogue: given, predicted from texts, and missing."""

    column: str
    n_given: int = Field(ge=0)
    n_predicted: int = Field(ge=0)
    n_missing: int = Field(ge=0)
    mean_confidence: float = Field(description="Of the predicted ones; NaN if there is none")


class SummaryRow(_Frozen):
    """Item with the summary of its long text."""

    item: str
    summary: str


class ItemPoint(_Frozen):
    """Item on the map of the items, in the unit square."""

    x: float = Field(ge=0, le=1)
    y: float = Field(ge=0, le=1)
    weight: int = Field(ge=0, description="Events with the item")
    colour: int = Field(ge=0, le=4, description="Position of its group in ``item_groups``")
    label: str = Field(description="Title, or id")


class ItemContextRow(_Frozen):
    """Reciprocal rank and log probability that are lost without a column of the item context."""

    name: str
    lost: Estimate = Field(description="MRR at all targets")
    new_lost: Estimate = Field(description="MRR at discoveries, among new items")
    lost_log: Estimate = Field(description="Nats at all targets")
    new_lost_log: Estimate = Field(description="Nats at discoveries, among new items")
    kept: bool


class AttackRow(_Frozen):
    """Membership attack on the chosen model."""

    name: str
    auc: Estimate
    n_users: int = Field(ge=0, description="Attacked members, and as many held-out users")


class GroupRow(_Frozen):
    """Accuracy for one group of users."""

    attribute: str
    level: str
    n_users: int = Field(ge=0)
    ndcg_10: Estimate
    overconfidence: Estimate = Field(description="Probability of the first item minus its hits")


class FederationRow(_Frozen):
    """One round of a federated training."""

    name: str
    n_answers: int = Field(ge=0, description="Clients whose answers count")
    failures: str = Field(description="Clients without an answer, by reason")
    later_loss: float | None = Field(
        description="Loss of the round's start on the clients' later targets, nats"
    )
    mb_per_client: float = Field(ge=0, description="Answer of a client, 2^20 bytes")


class ExposureRow(_Frozen):
    """Exposure of the items in lists of ten; absent intervals are not shown."""

    name: str
    value: Estimate


class ReportData(_Frozen):
    """Data of the HTML page and the model card; absent parts are left out."""

    dataset: str
    data_version: str = Field(description="Version of the lake's table the run read")
    protocol: str = Field(description="How targets were predicted, such as 'stream, time given'")
    seed: int
    generated_at: AwareDatetime
    models: tuple[ModelRow, ...] = ()
    next_basket: tuple[ModelRow, ...] = Field(
        default=(), description="Metrics of whole baskets; empty for a log without baskets"
    )
    main_metric: str = Field(default="ndcg_10", description="Metric of charts and folds")
    folds: tuple[FoldRow, ...] = ()
    slices: tuple[SliceRow, ...] = ()
    columns: tuple[ColumnRow, ...] = ()
    modalities: tuple[ColumnRow, ...] = ()
    item_context: tuple[ItemContextRow, ...] = ()
    when: WhenCalibration | None = None
    where: tuple[WhereRow, ...] = ()
    item_points: tuple[ItemPoint, ...] = ()
    item_groups: tuple[str, ...] = Field(default=(), description="Names of the map's colours")
    map_points: tuple[MapPoint, ...] = ()
    candidates: tuple[CandidateRow, ...] = ()
    objective: Objective | None = None
    steps: tuple[StepRow, ...] = ()
    ingestion: IngestionCounts | None = None
    noise: dict[str, int] = Field(default_factory=dict, description="Events removed by filter")
    dependences: tuple[DependenceCurve, ...] = ()
    data_facts: dict[str, str] = Field(default_factory=dict, description="Facts of the data card")
    card: CardText | None = None
    gate: GateSummary | None = None
    augmentation: str = Field(default="", description="Augmentation that was searched and chosen")
    attacks: tuple[AttackRow, ...] = ()
    groups: tuple[GroupRow, ...] = ()
    min_group_users: int = Field(default=1, ge=1, description="Smaller groups are left out")
    exposure: tuple[ExposureRow, ...] = ()
    federation: str = Field(default="", description="Clients and aggregation in words")
    federation_rounds: tuple[FederationRow, ...] = ()
    labels: tuple[LabelRow, ...] = ()
    summaries: tuple[SummaryRow, ...] = ()

    @property
    def champion(self) -> ModelRow | None:
        """The chosen model, if one is marked."""
        return next((row for row in self.models if row.champion), None)
