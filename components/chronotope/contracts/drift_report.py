"""Drift report: result of monitoring, stored as JSON."""

from typing import Literal

import pyarrow as pa
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

DriftArea = Literal["data", "predictions", "outcome"]
DriftStatus = Literal["usual", "drift", "not enough history", "shown"]
OverallStatus = Literal["no drift", "drift", "not enough history"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DriftCheck(_Frozen):
    """One statistic of the current window, compared with earlier windows."""

    part: DriftArea
    name: str = Field(description="Subject of the check, such as a column")
    statistic: str = Field(description="Statistic, such as js, psi or ndcg_10")
    value: float
    low: float | None = Field(None, description="Lower end of the 95 % interval")
    high: float | None = Field(None, description="Upper end of the 95 % interval")
    usual: float | None = Field(None, description="Expected value, from earlier windows")
    threshold: float | None = Field(None, description="Threshold of drift, from earlier windows")
    p_value: float | None = Field(None, description="Probability of such a value without drift")
    n_history: int = Field(0, ge=0, description="Earlier values that the threshold came from")
    verdict: DriftStatus = "shown"


class BinShares(_Frozen):
    """Share of one value or bin of a column, in the reference and in the current window."""

    label: str
    reference: float
    current: float


class ColumnShares(_Frozen):
    """Distribution of a column in the reference and in the current window."""

    name: str
    bins: tuple[BinShares, ...]


class WindowRow(_Frozen):
    """Champion's metrics on one window; each target is predicted from earlier events only."""

    start: AwareDatetime
    end: AwareDatetime
    n_targets: int
    metrics: dict[str, float]


class AnswerRow(_Frozen):
    """Hit rate of the recommendations that one version served on one day."""

    day: str
    version: str
    n_answers: int
    hit_rate: float = Field(
        description="Share of answers followed by an interaction with a shown item"
    )


class PositionRow(_Frozen):
    """Hit rate of the items shown at one position, 1 being the first."""

    position: int
    n_shown: int
    hit_rate: float
    weighted: float | None = Field(
        None,
        description="Hit rate of the position, weighted by inverse propensity: "
        "the expected hit rate of an item drawn at random",
    )


class OutcomeSummary(_Frozen):
    """Outcome of all recommendations whose horizon has passed."""

    n_answers: int
    n_open: int = Field(description="Answers too recent to be evaluated; excluded")
    n_nameless: int = Field(description="Answers shown without a user id; excluded")
    explored: float = Field(description="Share of answers drawn at random for exploration")
    gini: float = Field(
        description="Gini coefficient of the shown items, from 0 (uniform) to 1 (always one item)"
    )
    days: tuple[AnswerRow, ...]
    positions: tuple[PositionRow, ...]


class DriftReport(_Frozen):
    """Result of monitoring for one version of the data."""

    dataset: str
    data_version: str
    champion: str | None = Field(description="Version of the champion; None if there is none")
    champion_age_days: float | None = Field(description="Days since the champion's promotion")
    is_old: bool = Field(description="Whether the champion is older than max_age_days")
    window_start: AwareDatetime
    window_end: AwareDatetime
    verdict: OverallStatus
    reasons: tuple[str, ...] = Field(description="One sentence for each check that found drift")
    checks: tuple[DriftCheck, ...]
    columns: tuple[ColumnShares, ...] = ()
    windows: tuple[WindowRow, ...] = ()
    pit: tuple[float, ...] = Field(
        (),
        description="Probability integral transform of the current targets' gaps: "
        "share of targets in each tenth of the predicted distribution",
    )
    interval_levels: tuple[float, float] | None = Field(
        None,
        description="Levels of the predicted distribution between which 80 % of the current "
        "targets' gaps lay; the served interval lies between them",
    )
    outcome: OutcomeSummary | None = None
    notes: tuple[str, ...] = Field(
        (), description="Checks that could not be evaluated, with the reason"
    )

    def table(self) -> pa.Table:
        """The checks as a table, one row per check, with the columns of ``CHECKS``."""
        return pa.Table.from_pylist([check.model_dump() for check in self.checks], schema=CHECKS)


CHECKS = pa.schema(
    [
        *((name, pa.string()) for name in ("part", "name", "statistic")),
        *((n, pa.float64()) for n in ("value", "low", "high", "usual", "threshold", "p_value")),
        ("n_history", pa.int64()),
        ("verdict", pa.string()),
    ]
)
"""Schema of ``DriftReport.table``."""
