"""What a federation was, for the tags of the version and its model card."""

from pathlib import Path
from typing import Final

from pydantic import Field

from chronotope.federated.round_selection import RoundRecord
from chronotope.pipelines.results import StepResult
from chronotope.report.report_data import FederationRow
from chronotope.runtime.step_cache import step_result

STEP: Final = "federate"
"""Name of the step and of its file in the folder of a run."""


class FederationSummary(StepResult):
    """A finished federation."""

    model: Path = Field(description="File of the trained model")
    n_clients: int = Field(ge=2, description="Clients")
    is_simulated: bool = Field(description="Whether the clients are parts of one lake")
    aggregation: str = Field(description="How updates were aggregated, in words")
    privacy: str = Field(description="What the updates and counts reveal, in words")
    n_rounds: int = Field(ge=0, description="Rounds of training")
    epsilon: float | None = Field(
        None, description="Privacy loss of the updates with respect to one client; None: no noise"
    )
    delta: float | None = Field(None, description="Its failure probability")
    rounds: tuple[RoundRecord, ...] = Field(description="All aggregations")


def read_federation(run_dir: Path) -> FederationSummary | None:
    """Federation of a run; None if it was trained on one lake.

    Args:
        run_dir: Folder of the training.
    """
    return step_result(run_dir, STEP, FederationSummary)


def federation_tags(run_dir: Path) -> dict[str, str]:
    """Tags of a version that was trained by a federation; none otherwise."""
    summary = read_federation(run_dir)
    if summary is None:
        return {}
    tags = {
        "federated_clients": str(summary.n_clients),
        "federated_rounds": str(summary.n_rounds),
        "federated_aggregation": summary.aggregation,
    }
    if summary.epsilon is not None:
        tags |= {"federated_epsilon": f"{summary.epsilon:.4g}",
                 "federated_delta": f"{summary.delta:g}"}  # fmt: skip
    return tags


def federation_text(run_dir: Path) -> str:
    """Sentences on the federation for the model card; "" if there was none."""
    summary = read_federation(run_dir)
    if summary is None:
        return ""
    kind = "simulated clients" if summary.is_simulated else "clients with lakes of their own"
    return (
        f"Federated: {summary.n_clients} {kind}, {summary.n_rounds} rounds, "
        f"{summary.aggregation}. {summary.privacy}{noise_text(summary)}"
    )


def federation_rows(run_dir: Path) -> tuple[FederationRow, ...]:
    """Rounds of a federation for the report, without the counts; none if there was none.

    Args:
        run_dir: Folder of the training.
    """
    summary = read_federation(run_dir)
    return (
        ()
        if summary is None
        else tuple(
            FederationRow(
                name=round_record.name,
                n_answers=round_record.n_answers,
                failures=", ".join(f"{n} x {why}" for why, n in round_record.failures.items()),
                later_loss=round_record.later_loss,
                mb_per_client=round_record.mb_per_client,
            )
            for round_record in summary.rounds
            if not round_record.name.startswith("counts")
        )
    )


def noise_text(summary: FederationSummary) -> str:
    """Sentence on the noise of the updates; "" without any.

    Args:
        summary: The federation.
    """
    if summary.epsilon is None:
        return ""
    return (
        f" The updates have epsilon {summary.epsilon:.3g} and delta {summary.delta:g} with respect "
        "to one client, if the others add their noise; the counts are not covered."
    )
