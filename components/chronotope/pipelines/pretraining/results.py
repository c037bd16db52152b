"""Results of the steps of a pretraining."""

from pathlib import Path

from pydantic import Field

from chronotope.pipelines.results import RegisteredVersion, StepResult


class PretrainingSource(StepResult):
    """Log that a network is pretrained on."""

    dataset: str = Field(description="Name of the dataset")
    licence: str = Field("", description="Licence of the data")
    features: Path = Field(description="Feature snapshot")
    data_version: str = Field(description="Versions of the lake's tables")
    n_events: int = Field(ge=0, description="Events in the snapshot")
    n_users: int = Field(ge=0, description="Users in the snapshot")
    n_items: int = Field(ge=0, description="Items in the snapshot")


class PretrainingSearch(StepResult):
    """Result of the search of hyper-parameters."""

    params: dict[str, float] = Field(
        default_factory=dict, description="Parameters of the best trial; empty without a search"
    )
    mean_ndcg: float | None = Field(
        None, description="Its mean NDCG@10 over logs and folds, without further training"
    )
    trial_number: int = Field(0, ge=0, description="Its number; 0 has the values of the settings")
    fold_ndcg: tuple[float, ...] = Field((), description="Mean NDCG@10 over the logs on each fold")


class CheckpointFile(StepResult):
    """Written checkpoint."""

    path: Path = Field(description="File of the checkpoint")
    sha256: str = Field(description="Digest of the file")
    n_bytes: int = Field(ge=0, description="Size of the file")


class SourceEvaluation(StepResult):
    """Metrics on the later events of one log, request time given."""

    dataset: str = Field(description="Name of the dataset")
    n_targets: int = Field(ge=0, description="Evaluated targets")
    metrics: dict[str, dict[str, float]] = Field(
        description="Metrics of the pretrained network and of the user's counts"
    )


class PretrainingEvaluation(StepResult):
    """Metrics of a checkpoint on the holdout of each log."""

    sources: tuple[SourceEvaluation, ...] = Field(description="One for each log")


class PretrainingResult(StepResult):
    """Result of the flow ``pretrain-model``."""

    sources: tuple[PretrainingSource, ...] = Field(description="Logs that were read")
    search: PretrainingSearch = Field(description="Best parameters")
    checkpoint: CheckpointFile = Field(description="The checkpoint")
    evaluation: PretrainingEvaluation = Field(description="Metrics on later events of each log")
    registered: RegisteredVersion = Field(description="The registered version")
