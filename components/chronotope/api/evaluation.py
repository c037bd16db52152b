"""Result of an evaluation: metrics of models with intervals, over slices."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from chronotope.api import html
from chronotope.contracts.errors import ConfigError
from chronotope.contracts.event_log import Float64
from chronotope.metrics import PairedDifference, TimeCalibration, paired_difference

if TYPE_CHECKING:
    import pandas as pd

ALL_TARGETS: Final = "all"
"""Slice of all targets."""


@dataclass(frozen=True)
class Evaluation:
    """Metrics of models on the same targets.

    Attributes:
        frame: Tidy: ``model, slice, metric, value, low, high, n_targets``; the 95 % interval
            resamples users.
        protocol: What was predicted from what.
        times: Calibration of the predicted time of each model that predicts it, time hidden.
    """

    frame: "pd.DataFrame"
    protocol: str
    times: Mapping[str, TimeCalibration]
    _values: Mapping[str, Mapping[str, Float64]]
    _users: npt.NDArray[np.int64]

    def table(self, slice_name: str = ALL_TARGETS) -> "pd.DataFrame":
        """A row for each model, a column for each metric, best first by the last metric.

        Args:
            slice_name: One of the slices of ``frame``.
        """
        slice_rows = self.frame[self.frame["slice"] == slice_name]
        if not len(slice_rows):
            known_names = ", ".join(self.frame["slice"].unique())
            raise ConfigError(
                "No such slice", received=slice_name, way_out=f"Known are {known_names}"
            )
        wide_table = slice_rows.pivot_table(
            index="model", columns="metric", values="value", sort=False
        )
        return wide_table.sort_values(wide_table.columns[-1], ascending=False)

    def compare(self, model: str, other: str, metric: str = "ndcg_10") -> PairedDifference:
        """Paired test of two models on the same targets: difference, interval, p-value.

        Args:
            model: Name of a model.
            other: Name of the model to compare with.
            metric: One of the metrics.

        Raises:
            ConfigError: A name is unknown.
        """
        for model_name in (model, other):
            if model_name not in self._values:
                raise ConfigError(
                    "No such model",
                    received=model_name,
                    way_out=f"Known are {', '.join(self._values)}",
                )
        if metric not in self._values[model]:
            known_names = ", ".join(self._values[model])
            raise ConfigError("No such metric", received=metric, way_out=f"Known are {known_names}")
        return paired_difference(
            self._values[model][metric], self._values[other][metric], self._users
        )

    def __repr__(self) -> str:
        """The table of all targets."""
        return f"{self.table().round(4).to_string()}\n{self.protocol}"

    def _repr_html_(self) -> str:
        slice_blocks = [self._slice_html(model_name) for model_name in self.frame["slice"].unique()]
        return html.card("Evaluation", html.paragraph(self.protocol, soft=True), *slice_blocks)

    def _slice_html(self, slice_name: str) -> str:
        wide_table = self.table(slice_name)
        slice_rows = self.frame[self.frame["slice"] == slice_name].set_index(["model", "metric"])
        n_targets = int(slice_rows["n_targets"].iloc[0])
        table_cells = [
            [str(model), *(_cell(slice_rows.loc[(model, metric)]) for metric in wide_table.columns)]
            for model in wide_table.index
        ]
        slice_title = html.paragraph(f"{slice_name}, {n_targets:,} targets")
        return slice_title + html.table(
            ["model", *map(str, wide_table.columns)], table_cells, best_rows=(0,)
        )


def _cell(metric_row: Any) -> str:
    return f"{metric_row['value']:.3f} [{metric_row['low']:.3f}, {metric_row['high']:.3f}]"
