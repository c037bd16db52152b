"""Configuration of monitoring: window lengths, thresholds, correction for many checks."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class MonitorConfig(BaseModel):
    """How the newest window is compared with earlier ones."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    window_days: int = Field(7, ge=1, le=366, description="Length of a window, in days")
    reference_windows: int = Field(
        4, ge=1, le=52, description="Windows before each window that it is compared with, pooled"
    )
    history_windows: int = Field(
        52, ge=3, le=1000, description="Earlier comparisons that thresholds come from, at most"
    )
    min_history: int = Field(
        6, ge=3, description="With fewer earlier comparisons nothing is called drift"
    )
    min_rows: int = Field(100, ge=2, description="Windows with fewer rows are not compared")
    quantile: float = Field(
        0.99,
        gt=0.5,
        lt=1,
        description="Share of windows without drift in which no check may raise an alarm",
    )
    correction: Literal["benjamini_hochberg", "bonferroni"] = Field(
        "benjamini_hochberg", description="Correction for the number of checks"
    )
    statistic: Literal["js", "psi"] = Field(
        "js", description="Divergence of a column that may raise an alarm"
    )
    n_bins: int = Field(20, ge=2, le=200, description="Bins of a column")
    n_resamples: int = Field(200, ge=50, description="Resamples of users for intervals")
    max_targets: int = Field(
        1000, ge=50, description="Events of each window that the champion predicts"
    )
    prediction_windows: int = Field(
        8, ge=1, le=100, description="Newest windows that the champion predicts"
    )
    horizon_h: float = Field(
        24.0, gt=0, description="Hours in which an interaction counts for a recommendation"
    )
    max_age_days: float = Field(30.0, gt=0, description="A champion older than this is flagged")
    seed: int = Field(0, ge=0, description="Seed of samples and resamples")
    force: bool = Field(False, description="Recompute a report that exists already")
