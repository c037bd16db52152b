"""Figures of matplotlib: accuracy with intervals, calibration of time, map, item space.

accuracy: Metric of each model with its interval.
calibration: Observed against predicted times of the next event.
map: Events, or recommended items, by their coordinates.
item_space: Items that the same users have lie close together.
"""

import io
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.sparse import csr_array
from scipy.sparse.linalg import svds

from chronotope.api.evaluation import ALL_TARGETS, Evaluation
from chronotope.api.logs.log import Log
from chronotope.contracts import columns as c
from chronotope.contracts.errors import ConfigError, NotEnoughData

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["accuracy", "calibration", "item_space", "map"]

_BLUE: Final = "#1f5fbf"
_GREY: Final = "#8a94a6"
_N_FACTORS: Final = 16
_N_LABELS: Final = 12


class NotebookFigure(Figure):
    """Figure that shows itself where a cell ends with it; pyplot would keep global state."""

    def _repr_png_(self) -> bytes:
        """The picture."""
        png_buffer = io.BytesIO()
        self.savefig(png_buffer, format="png", dpi=110)
        return png_buffer.getvalue()


def accuracy(
    evaluation: Evaluation, metric: str = "ndcg_10", slice_name: str = ALL_TARGETS
) -> NotebookFigure:
    """Metric of each model with its 95 % interval, best on top.

    Args:
        evaluation: Result of ``ct.evaluate``.
        metric: One of its metrics.
        slice_name: One of its slices.

    Raises:
        ConfigError: It has no such metric or slice.
    """
    located_rows = evaluation.frame
    metric_rows = located_rows[
        (located_rows["metric"] == metric) & (located_rows["slice"] == slice_name)
    ]
    if not len(metric_rows):
        metrics, slices = located_rows["metric"].unique(), located_rows["slice"].unique()
        raise ConfigError(
            "The evaluation has no such metric and slice",
            received=f"{metric}, {slice_name}",
            way_out=f"Metrics are {', '.join(metrics)}; slices are {', '.join(slices)}",
        )
    metric_rows = metric_rows.sort_values("value")
    drawn_figure, figure_axes = _axes(6.4, 0.9 + 0.4 * len(metric_rows))
    interval_widths = np.stack(
        [metric_rows["value"] - metric_rows["low"], metric_rows["high"] - metric_rows["value"]]
    )
    figure_axes.errorbar(
        metric_rows["value"],
        range(len(metric_rows)),
        xerr=interval_widths,
        fmt="none",
        color=_GREY,
        capsize=3,
    )
    point_colours = [_GREY] * (len(metric_rows) - 1) + [_BLUE]
    figure_axes.scatter(
        metric_rows["value"], range(len(metric_rows)), color=point_colours, zorder=3
    )
    figure_axes.set_yticks(range(len(metric_rows)), metric_rows["model"])
    figure_axes.set_xlabel(
        f"{metric}, {int(metric_rows['n_targets'].iloc[0]):,} targets, 95 % interval"
    )
    figure_axes.grid(axis="x", alpha=0.3)
    return drawn_figure


def calibration(evaluation: Evaluation, model: str | None = None) -> NotebookFigure:
    """Share of true times in each tenth of the predicted distribution; ideal is .1 each.

    Args:
        evaluation: Result of ``ct.evaluate`` with a ``ct.Recommender``.
        model: Its name; by default the first that predicts times.

    Raises:
        ConfigError: No such model predicts times.
    """
    model_name = model or next(iter(evaluation.times), "")
    if model_name not in evaluation.times:
        raise ConfigError(
            "No such model predicts times",
            received=model,
            way_out="Evaluate a ct.Recommender; baselines predict items only",
        )
    time_calibration = evaluation.times[model_name]
    drawn_figure, figure_axes = _axes(6.4, 3.4)
    tenth_centres = np.arange(len(time_calibration.pit)) + 0.5
    figure_axes.bar(tenth_centres, time_calibration.pit, width=0.9, color=_BLUE)
    figure_axes.axhline(1 / len(time_calibration.pit), color=_GREY, linestyle="--")
    figure_axes.set_xticks(range(0, 11, 2), [f"{level / 10:.1f}" for level in range(0, 11, 2)])
    figure_axes.set_xlabel("predicted probability that the next event has come by its true time")
    figure_axes.set_ylabel("share of events")
    figure_axes.set_title(
        f"{model_name}: {time_calibration.coverage_80:.0%} of {time_calibration.n_targets:,} times "
        "lie in the 80 % interval",
        fontsize=10,
    )
    return drawn_figure


def map(data: "Log | pd.DataFrame") -> NotebookFigure:
    """Events of a log, or items of ``recommend``, by their coordinates.

    Args:
        data: A log with coordinates, or a frame with ``lat`` and ``lon`` and, for the size of
            the points, ``probability``.

    Raises:
        NotEnoughData: There are no coordinates.
    """
    located_rows = _places(data) if isinstance(data, Log) else data.dropna(subset=[c.LAT, c.LON])
    if not len(located_rows):
        raise NotEnoughData(
            "No row has coordinates",
            way_out="Pass lat and lon to Log.from_frame or Catalog.from_frame",
        )
    drawn_figure, figure_axes = _axes(6.0, 6.0)
    row_weight = (
        located_rows["probability"]
        if "probability" in located_rows.columns
        else located_rows["n_events"]
    )
    weight_share = row_weight.to_numpy(float) / row_weight.max()
    figure_axes.scatter(
        located_rows[c.LON],
        located_rows[c.LAT],
        s=8 + 220 * weight_share,
        color=_BLUE,
        alpha=0.45,
        lw=0,
    )
    for located_row in located_rows[
        np.argsort(-weight_share, kind="stable").argsort() < _N_LABELS
    ].itertuples():
        point_label = getattr(located_row, "title", None) or getattr(located_row, "item", "")
        figure_axes.annotate(
            str(point_label)[:24], (located_row.lon, located_row.lat), fontsize=7, alpha=0.8
        )
    figure_axes.set_aspect(1 / max(0.1, np.cos(np.radians(located_rows[c.LAT].mean()))))
    figure_axes.set_xlabel("longitude, degrees")
    figure_axes.set_ylabel("latitude, degrees")
    return drawn_figure


def item_space(log: Log, n_items: int = 400, seed: int = 0) -> NotebookFigure:
    """Map of the items with the most events: items of the same users lie close together (t-SNE).

    Args:
        log: The events.
        n_items: Maximum number of items.
        seed: Seed of the map.

    Raises:
        NotEnoughData: The log has too few users or items.
    """
    from sklearn.manifold import TSNE

    event_log, log_catalog = log.events, log.index
    event_counts = np.bincount(event_log.item_idx, minlength=log_catalog.n_items)
    chosen_items = np.argsort(-event_counts, kind="stable")[:n_items]
    chosen_items = chosen_items[event_counts[chosen_items] > 0]
    n_factors = min(_N_FACTORS, len(chosen_items) - 1, log_catalog.users.size - 1)
    if n_factors < 2:
        raise NotEnoughData("A map of items needs three users and three items", received=repr(log))
    item_points = TSNE(
        n_components=2,
        perplexity=min(30.0, (len(chosen_items) - 1) / 3),
        init="pca",
        random_state=seed,
    ).fit_transform(_item_factors(log, chosen_items, n_factors, seed))
    drawn_figure, figure_axes = _axes(6.4, 5.4)
    point_colours = log_catalog.item_category[chosen_items] % 10
    point_sizes = 6 + 150 * event_counts[chosen_items] / event_counts.max()
    figure_axes.scatter(
        item_points[:, 0],
        item_points[:, 1],
        s=point_sizes,
        c=point_colours,
        cmap="tab10",
        alpha=0.6,
    )
    for item_slot in range(min(_N_LABELS, len(chosen_items))):
        item_title = log_catalog.item_title[chosen_items[item_slot]] or log_catalog.items.name(
            int(chosen_items[item_slot])
        )
        figure_axes.annotate(str(item_title)[:24], item_points[item_slot], fontsize=7)
    figure_axes.set_xticks([])
    figure_axes.set_yticks([])
    figure_axes.set_title(
        "items of the same users lie close together; colour: category", fontsize=10
    )
    return drawn_figure


def _item_factors(
    log: Log, item_idx: npt.NDArray[np.int64], n_factors: int, seed: int
) -> npt.NDArray[np.float64]:
    """Factors of items from users' log counts, shape (n_items, n_factors)."""
    event_log, log_catalog = log.events, log.index
    matrix_shape = (log_catalog.users.size, log_catalog.n_items)
    event_ones = np.ones(len(event_log))
    count_matrix = csr_array(
        (event_ones, (event_log.user_idx, event_log.item_idx)), shape=matrix_shape
    )
    count_matrix.data = np.log1p(count_matrix.data)
    item_columns = count_matrix.tocsc()[:, item_idx]
    column_norms = np.sqrt((item_columns**2).sum(axis=0))
    start_vector = np.random.default_rng(seed).standard_normal(min(item_columns.shape))
    _, factor_strength, item_factors = svds(
        (item_columns / np.maximum(column_norms, 1e-9)).tocsc(), k=n_factors, v0=start_vector
    )
    return np.asarray((factor_strength[:, None] * item_factors).T)


def _places(log: Log) -> "pd.DataFrame":
    """Items with coordinates, and the number of their events."""
    import pandas as pd

    log_catalog = log.index
    event_counts = np.bincount(log.events.item_idx, minlength=log_catalog.n_items)[1:]
    item_columns = {
        "item": log_catalog.items.ids.to_pylist(),
        "title": log_catalog.item_title[1:],
        c.LAT: log_catalog.item_lat[1:],
        c.LON: log_catalog.item_lon[1:],
        "n_events": event_counts,
    }
    return pd.DataFrame(item_columns).dropna(subset=[c.LAT, c.LON])


def _axes(width: float, height: float) -> tuple[NotebookFigure, Axes]:
    """Figure and axes of a size in inches; nothing is shown, and no state is kept."""
    drawn_figure = NotebookFigure(figsize=(width, height), layout="constrained")
    figure_axes = drawn_figure.subplots()
    for spine_side in ("top", "right"):
        figure_axes.spines[spine_side].set_visible(False)
    return drawn_figure, figure_axes
