"""Configuration of drift monitoring: windows, thresholds and multiple testing."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class MonitorConfig(BaseModel):
    """Settings of the comparison of the current (newest) window with earlier ones."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    window_days: int = Field(7, ge=1, le=366, description="Length of a window, days")
    reference_windows: int = Field(
        4,
        ge=1,
        le=52,
        description="Number of preceding windows that are pooled as the reference of a window",
    )
    history_windows: int = Field(
        52,
        ge=3,
        le=1000,
        description="Maximum number of earlier windows whose statistics set the thresholds",
    )
    min_history: int = Field(
        6, ge=3, description="Minimum number of earlier windows to report drift of a statistic"
    )
    min_rows: int = Field(100, ge=2, description="Minimum number of rows to compare a window")
    quantile: float = Field(
        0.99,
        gt=0.5,
        lt=1,
        description="Share of windows without drift in which no check raises an alarm",
    )
    correction: Literal["benjamini_hochberg", "bonferroni"] = Field(
        "benjamini_hochberg", description="Multiple-testing correction over all checks"
    )
    statistic: Literal["js", "psi"] = Field(
        "js",
        description="Divergence of columns that can raise an alarm: js (Jensen-Shannon) or psi "
        "(population stability index); the other is only shown",
    )
    n_bins: int = Field(20, ge=2, le=200, description="Maximum number of bins of a column")
    n_resamples: int = Field(
        200, ge=50, description="Number of bootstrap resamples of users for confidence intervals"
    )
    max_targets: int = Field(
        1000, ge=50, description="Maximum number of events of a window that the champion predicts"
    )
    prediction_windows: int = Field(
        8, ge=1, le=100, description="Number of newest windows that the champion predicts"
    )
    horizon_h: float = Field(
        24.0,
        gt=0,
        description="Hours after a recommendation during which an interaction with one of its "
        "items counts as a hit",
    )
    max_age_days: float = Field(
        30.0, gt=0, description="Days since promotion after which the champion is stale"
    )
    seed: int = Field(0, ge=0, description="Random seed of samples and resamples")
    force: bool = Field(False, description="Recompute a report that already exists")
