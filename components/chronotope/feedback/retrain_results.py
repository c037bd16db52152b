"""Result of planning a retraining, which the watermark stores until the retraining ends."""

from pydantic import BaseModel, ConfigDict, Field

from chronotope.contracts.data_version import TableVersionText
from chronotope.feedback.population_shift import PopulationShift
from chronotope.feedback.retrain_policy import RetrainAction
from chronotope.pipelines.results import RetrainingInputs


class RetrainPlan(BaseModel):
    """Decision whether to retrain, its reasons, and the inputs of the retraining, if any."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    action: RetrainAction = Field(description="nothing, wait, hold or retrain")
    mode: str = Field("", description="warm or full if the action is retrain")
    reasons: tuple[str, ...] = Field(description="Reasons, one sentence each")
    shift: PopulationShift | None = Field(
        None, description="New events compared with earlier ones; None without events"
    )
    champion: str | None = Field(None, description="Version of the champion, if there is one")
    learned_version: TableVersionText | None = Field(
        None, description="Version of the events that the last training used"
    )
    version: TableVersionText | None = Field(
        None, description="Version of the events that a retraining would use"
    )
    inputs: RetrainingInputs | None = Field(
        None, description="Folders and cut-off time of the retraining; None without one"
    )
