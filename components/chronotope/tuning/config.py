"""Configuration of a hyper-parameter search: budget, seed and pruning."""

from pydantic import BaseModel, ConfigDict, Field


class StudyConfig(BaseModel):
    """Budget, seed and pruning of a search."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_trials: int = Field(20, ge=1, description="Finished trials in total, over all resumes")
    timeout_s: float | None = Field(
        None, gt=0, description="Start no trial after this time, in seconds"
    )
    seed: int = Field(0, ge=0, description="Seed of the sampler")
    n_startup_trials: int = Field(5, ge=1, description="Random trials before TPE takes over")
    prune_p: float = Field(
        0.1,
        ge=0,
        le=1,
        description="p-value at which a trial is stopped; 0.1 needs 4 folds or more",
    )
    n_startup_folds: int = Field(2, ge=2, description="Folds before a trial may be stopped")
    min_gain_se: float = Field(
        1.0,
        ge=0,
        description="A trial replaces the settings, which are tried first, only if its mean gain "
        "over them exceeds this many standard errors of its gains on the folds; 0: any gain",
    )
    max_retries: int = Field(2, ge=0, description="Retries of a trial whose process died")
    batch: int = Field(
        1,
        ge=1,
        le=1000,
        description="Trials sampled before any of them is evaluated, so that they can run in "
        "parallel. Samples depend on it, not on the engine",
    )
