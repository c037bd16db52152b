"""Decision on a retraining: what the planner returns, and what the watermark remembers."""

from pydantic import BaseModel, ConfigDict, Field

from chronotope.contracts.data_version import TableVersionText
from chronotope.feedback.population_shift import PopulationShift
from chronotope.feedback.retrain_policy import RetrainAction
from chronotope.pipelines.results import RetrainingInputs


class RetrainPlan(BaseModel):
    """Decision with its reasons, and the inputs of the retraining if there is one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    action: RetrainAction = Field(description="nothing, wait, hold or retrain")
    mode: str = Field("", description="warm or full if the action is retrain")
    reasons: tuple[str, ...] = Field(description="Reasons, a sentence each")
    shift: PopulationShift | None = Field(
        None, description="New events compared with the others; None without events"
    )
    champion: str | None = Field(None, description="Version of the champion, if there is one")
    learned_version: TableVersionText | None = Field(
        None, description="Version of the events that the last training used"
    )
    version: TableVersionText | None = Field(
        None, description="Version of the events that a retraining would use"
    )
    inputs: RetrainingInputs | None = Field(
        None, description="Folders and cut-off of the retraining; None without one"
    )
