"""Flow ``synthesise-log``: ingest a log, generate users like its own, measure them, write files."""

from pathlib import Path

from prefect import flow, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from pydantic import BaseModel, ConfigDict, Field

from chronotope.contracts.escaping import markdown_rows
from chronotope.datasets.loading import load_spec
from chronotope.features.snapshot import load_features
from chronotope.runtime.allowed_paths import AllowedPath
from chronotope.runtime.workspace import Workspace
from chronotope.synthesis import SynthesisFigures, SynthesisSettings, synthesise
from chronotope.synthesis.files import write_synthetic_log
from flows import dataset_lock_in_flow
from flows.ingest_events import IngestSettings, ingest_locked


class SynthesiseSettings(BaseModel):
    """Settings of the flow ``synthesise-log``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    out: AllowedPath | None = Field(
        None, description="Folder of the files; by default data/synthetic/DATASET below the root"
    )
    synthesis: SynthesisSettings = Field(
        SynthesisSettings(), description="Size, generator and evaluation of the synthetic log"
    )


class SynthesisResult(BaseModel):
    """Files and figures of a synthetic log."""

    model_config = ConfigDict(frozen=True)

    folder: Path
    dataset: Path
    figures: SynthesisFigures


@flow(name="synthesise-log", result_serializer="json")
def synthesise_log(
    dataset: str,
    settings: SynthesiseSettings = SynthesiseSettings(),  # noqa: B008 - frozen
    ingestion: IngestSettings = IngestSettings(),  # noqa: B008 - frozen
) -> SynthesisResult:
    """Ingest new events, fit a generator, and write a log of users who were never there.

    The generator sees neither some held-out users nor the latest events, so that fidelity and
    privacy of the written log are measured against them.

    Args:
        dataset: Name of a file in conf/datasets, or path of such a YAML file.
        settings: Folder, size, generator and evaluation.
        ingestion: Location, reading and validation of the data.
    """
    spec = load_spec(dataset, conf_dir=ingestion.conf_dir, data_dir=ingestion.data_dir)
    with dataset_lock_in_flow(Workspace(ingestion.root), spec.name):
        features = ingest_locked(dataset, ingestion).features.path
    folder = settings.out or ingestion.root / "data" / "synthetic" / spec.name
    result = generate_and_measure(
        spec.name, spec.event_type, Path(features), folder, settings.synthesis
    )
    publish_figures(result.figures)
    return result


@task(cache_policy=NO_CACHE, result_serializer="json")
def generate_and_measure(
    name: str, event_type: str, features: Path, folder: Path, settings: SynthesisSettings
) -> SynthesisResult:
    """Fit, generate, measure and write; the same seed writes the same log."""
    log, item_catalog = load_features(features)
    synthetic = synthesise(name, log, item_catalog, settings)
    dataset_path = write_synthetic_log(synthetic, item_catalog, folder, event_type=event_type)
    return SynthesisResult(folder=folder, dataset=dataset_path, figures=synthetic.figures)


@task(cache_policy=NO_CACHE)
def publish_figures(figures: SynthesisFigures) -> None:
    """Create an artifact with utility and attacks."""
    rows = [
        {"figure": f"NDCG@10, trained on {utility.trained_on}", "value": round(utility.ndcg_10, 4)}
        for utility in figures.utilities
    ]
    rows += [
        {"figure": f"AUC of the attack by {attack.name}", "value": round(attack.auc, 4)}
        for attack in figures.attacks
    ]
    create_table_artifact(
        markdown_rows(rows),
        key=f"synthesise-{figures.dataset.replace('_', '-')}",
        description="Fidelity and privacy of the synthetic log",
    )
