"""Figures of matplotlib: accuracy with intervals, calibration of time, map, item space.

accuracy: Metric of each model with its interval.
calibration: Observed against predicted times of the next event.
map: Events, or recommended items, by their coordinates.
item_space: Items that the same users have lie close together.
"""

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.sparse.linalg import svds

from chronotope.api.evaluation import ALL_TARGETS, Evaluation
from chronotope.api.log import Log
from chronotope.contracts import columns as c
from chronotope.contracts.errors import ConfigError, NotEnoughData

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from chronotope.api.figures import NotebookFigure

__all__ = ["accuracy", "calibration", "item_space", "map"]

_BLUE: Final = "#1f5fbf"
_GREY: Final = "#8a94a6"
_N_FACTORS: Final = 16
_N_LABELS: Final = 12


def accuracy(
    evaluation: Evaluation, metric: str = "ndcg_10", slice_name: str = ALL_TARGETS
) -> "NotebookFigure":
    """Metric of each model with its 95 % interval, best on top.

    Args:
        evaluation: Result of ``ct.evaluate``.
        metric: One of its metrics.
        slice_name: One of its slices.

    Raises:
        ConfigError: It has no such metric or slice.
    """
    frame = evaluation.frame
    rows = frame[(frame["metric"] == metric) & (frame["slice"] == slice_name)]
    if not len(rows):
        metrics, slices = frame["metric"].unique(), frame["slice"].unique()
        raise ConfigError(
            "The evaluation has no such metric and slice",
            received=f"{metric}, {slice_name}",
            way_out=f"Metrics are {', '.join(metrics)}; slices are {', '.join(slices)}",
        )
    rows = rows.sort_values("value")
    figure, axes = _axes(6.4, 0.9 + 0.4 * len(rows))
    errors = np.stack([rows["value"] - rows["low"], rows["high"] - rows["value"]])
    axes.errorbar(rows["value"], range(len(rows)), xerr=errors, fmt="none", color=_GREY, capsize=3)
    colours = [_GREY] * (len(rows) - 1) + [_BLUE]
    axes.scatter(rows["value"], range(len(rows)), color=colours, zorder=3)
    axes.set_yticks(range(len(rows)), rows["model"])
    axes.set_xlabel(f"{metric}, {int(rows['n_targets'].iloc[0]):,} targets, 95 % interval")
    axes.grid(axis="x", alpha=0.3)
    return figure


def calibration(evaluation: Evaluation, model: str | None = None) -> "NotebookFigure":
    """Share of true times in each tenth of the predicted distribution; ideal is .1 each.

    Args:
        evaluation: Result of ``ct.evaluate`` with a ``ct.Recommender``.
        model: Its name; by default the first that predicts times.

    Raises:
        ConfigError: No such model predicts times.
    """
    name = model or next(iter(evaluation.times), "")
    if name not in evaluation.times:
        raise ConfigError(
            "No such model predicts times",
            received=model,
            way_out="Evaluate a ct.Recommender; baselines predict items only",
        )
    measured = evaluation.times[name]
    figure, axes = _axes(6.4, 3.4)
    tenths = np.arange(len(measured.pit)) + 0.5
    axes.bar(tenths, measured.pit, width=0.9, color=_BLUE)
    axes.axhline(1 / len(measured.pit), color=_GREY, linestyle="--")
    axes.set_xticks(range(0, 11, 2), [f"{level / 10:.1f}" for level in range(0, 11, 2)])
    axes.set_xlabel("predicted probability that the next event has come by its true time")
    axes.set_ylabel("share of events")
    axes.set_title(
        f"{name}: {measured.coverage_80:.0%} of {measured.n_targets:,} times lie in the 80 % "
        "interval",
        fontsize=10,
    )
    return figure


def map(data: "Log | pd.DataFrame") -> "NotebookFigure":
    """Events of a log, or items of ``recommend``, by their coordinates.

    Args:
        data: A log with coordinates, or a frame with ``lat`` and ``lon`` and, for the size of
            the points, ``probability``.

    Raises:
        NotEnoughData: There are no coordinates.
    """
    frame = _places(data) if isinstance(data, Log) else data.dropna(subset=[c.LAT, c.LON])
    if not len(frame):
        raise NotEnoughData(
            "No row has coordinates",
            way_out="Pass lat and lon to Log.from_frame or Catalog.from_frame",
        )
    figure, axes = _axes(6.0, 6.0)
    weight = frame["probability"] if "probability" in frame.columns else frame["n_events"]
    share = weight.to_numpy(float) / weight.max()
    axes.scatter(frame[c.LON], frame[c.LAT], s=8 + 220 * share, color=_BLUE, alpha=0.45, lw=0)
    for row in frame[np.argsort(-share, kind="stable").argsort() < _N_LABELS].itertuples():
        label = getattr(row, "title", None) or getattr(row, "item", "")
        axes.annotate(str(label)[:24], (row.lon, row.lat), fontsize=7, alpha=0.8)
    axes.set_aspect(1 / max(0.1, np.cos(np.radians(frame[c.LAT].mean()))))
    axes.set_xlabel("longitude, degrees")
    axes.set_ylabel("latitude, degrees")
    return figure


def item_space(log: Log, n_items: int = 400, seed: int = 0) -> "NotebookFigure":
    """Map of the items with the most events: items of the same users lie close together (t-SNE).

    Args:
        log: The events.
        n_items: Maximum number of items.
        seed: Seed of the map.

    Raises:
        NotEnoughData: The log has too few users or items.
    """
    from sklearn.manifold import TSNE

    events, index = log.events, log.index
    counts = np.bincount(events.item_idx, minlength=index.n_items)
    chosen = np.argsort(-counts, kind="stable")[:n_items]
    chosen = chosen[counts[chosen] > 0]
    n_factors = min(_N_FACTORS, len(chosen) - 1, index.users.size - 1)
    if n_factors < 2:
        raise NotEnoughData("A map of items needs three users and three items", received=repr(log))
    points = TSNE(
        n_components=2,
        perplexity=min(30.0, (len(chosen) - 1) / 3),
        init="pca",
        random_state=seed,
    ).fit_transform(_item_factors(log, chosen, n_factors, seed))
    figure, axes = _axes(6.4, 5.4)
    colours = index.item_category[chosen] % 10
    sizes = 6 + 150 * counts[chosen] / counts.max()
    axes.scatter(points[:, 0], points[:, 1], s=sizes, c=colours, cmap="tab10", alpha=0.6)
    for slot in range(min(_N_LABELS, len(chosen))):
        title = index.item_title[chosen[slot]] or index.items.name(int(chosen[slot]))
        axes.annotate(str(title)[:24], points[slot], fontsize=7)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title("items of the same users lie close together; colour: category", fontsize=10)
    return figure


def _item_factors(
    log: Log, items: npt.NDArray[np.int64], n_factors: int, seed: int
) -> npt.NDArray[np.float64]:
    """Factors of items from users' log counts, shape (n_items, n_factors)."""
    events, index = log.events, log.index
    shape = (index.users.size, index.n_items)
    ones = np.ones(len(events))
    matrix = csr_array((ones, (events.user_idx, events.item_idx)), shape=shape)
    matrix.data = np.log1p(matrix.data)
    columns = matrix.tocsc()[:, items]
    norms = np.sqrt((columns**2).sum(axis=0))
    first = np.random.default_rng(seed).standard_normal(min(columns.shape))
    _, strength, factors = svds((columns / np.maximum(norms, 1e-9)).tocsc(), k=n_factors, v0=first)
    return np.asarray((strength[:, None] * factors).T)


def _places(log: Log) -> "pd.DataFrame":
    """Items with coordinates, and the number of their events."""
    import pandas as pd

    index = log.index
    counts = np.bincount(log.events.item_idx, minlength=index.n_items)[1:]
    columns = {
        "item": index.items.ids.to_pylist(),
        "title": index.item_title[1:],
        c.LAT: index.item_lat[1:],
        c.LON: index.item_lon[1:],
        "n_events": counts,
    }
    return pd.DataFrame(columns).dropna(subset=[c.LAT, c.LON])


def _axes(width: float, height: float) -> "tuple[NotebookFigure, Axes]":
    """Figure and axes of a size in inches; nothing is shown, and no state is kept.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    try:
        from chronotope.api.figures import NotebookFigure
    except ImportError as error:
        raise ConfigError(
            "Figures need matplotlib", way_out="Install it: pip install matplotlib"
        ) from error
    figure = NotebookFigure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes
