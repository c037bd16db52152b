"""Compress the trained model and keep the smallest bundle that meets the objective."""

from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from chronotope.artifact.open_bundle import BundleRecommender
from chronotope.compression.candidate_store import (
    CandidateQuality,
    CandidateStore,
    CompressionSource,
)
from chronotope.compression.compress import compress
from chronotope.compression.networks import TeacherData
from chronotope.compression.recipe import Recipe, fixed_recipes, indexed_recipes
from chronotope.compression.selection import CompressionConfig
from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.contracts.queries import queries_at
from chronotope.features.snapshot import load_features
from chronotope.metrics.evaluate import evaluate
from chronotope.metrics.summary import hit_rate, ndcg
from chronotope.models.batch import Batch
from chronotope.models.factorized import is_separable
from chronotope.models.network import ChronotopeNet
from chronotope.models.priors import Priors
from chronotope.pipelines.holdout import frozen_folds, selection_targets
from chronotope.pipelines.settings import TrainSettings
from chronotope.registry.blessing import agreement, violated_agreement_bounds
from chronotope.runtime.stored_arrays import save_arrays
from chronotope.training.prequential import PrequentialRound, RoundBatches, make_rounds
from chronotope.training.recommender import ChronotopeRecommender, fine_tune
from chronotope.tuning.recipe_search import search_recipes

N_PROBES = 64
"""Queries whose answers by the original travel with a run, for the blessing."""

CANDIDATES = "candidates"
"""Folder of a run with all that was made of its network."""

MEASURED = "measured"
"""Folder of a run with what its candidates cost on this machine."""


def compress_model(
    features: Path,
    settings: TrainSettings,
    run: Path,
    trained: Path,
    data_version: str,
    *,
    made_in: Path | None = None,
) -> dict[str, Any]:
    """Prune, distil, quantise, export and choose.

    Args:
        features: Feature snapshot.
        settings: What is tried, and the objective.
        run: Folder of this training, with its folds.
        trained: File of the trained model.
        data_version: Version of the events.
        made_in: Run whose candidates are used again; by default this one. What they cost is
            measured again, what they are worth is not.

    Returns:
        ``bundle`` (the chosen folder), ``candidates`` (a row each), ``holds`` (whether the
        objective is met) and ``reason``.
    """
    log, catalog = load_features(features)
    model = ChronotopeRecommender.load(trained, catalog)
    targets = selection_targets(log, settings, run)
    known = log.before(frozen_folds(run).holdout.train_end_s)
    queries = queries_at(log, targets[:N_PROBES], history_len=model.history_len, time_given=True)
    expected = model.scores(queries)
    save_arrays(run / "probes.npz", positions=targets[:N_PROBES], scores=expected)

    def quality(candidate: BundleRecommender) -> CandidateQuality:
        outcomes = evaluate(candidate, log, targets, n_items=catalog.n_items, time_given=True)
        ndcg, acc = (measured(outcomes.rank, 10).mean() for measured in (ndcg, hit_rate))
        alike = agreement(candidate.scores(queries), expected, settings.bless.k)
        refused = "; ".join(violated_agreement_bounds(alike, settings.bless))
        return CandidateQuality(float(ndcg), float(acc), refused)

    lately = _Lately(model, known, catalog)
    config = settings.compression
    shop = CandidateStore(
        CompressionSource(
            model.net, model.priors, catalog, _about(model, known, run.parent.name, data_version)
        ),
        TeacherData(lately.fine_tune, lately.examples),
        quality,
        queries,
        folder=(made_in or run) / CANDIDATES,
        measures=run / MEASURED,
        n_runs=config.n_runs,
    )
    recipes = candidate_recipes(model.net, config, catalog.n_items)
    if config.n_trials > len(recipes):
        result = search_recipes(shop, recipes, config, model.model.history_len)
    else:
        result = compress(shop, recipes, config)
    told = {"holds": result.holds, "reason": result.reason}
    return {"bundle": str(result.chosen.folder), "candidates": result.rows(), **told}


def candidate_recipes(
    net: ChronotopeNet, config: CompressionConfig, n_items: int
) -> tuple[Recipe, ...]:
    """What is tried: of a large catalogue indexes, unless items have coordinates.

    Args:
        net: The trained network.
        config: Where a catalogue is large.
        n_items: Of the catalogue.
    """
    if n_items > config.index_above_items and is_separable(net):
        return indexed_recipes(config)
    return fixed_recipes(config, net.config.history_len)


def _about(
    model: ChronotopeRecommender, known: EventLog, dataset: str, data_version: str
) -> dict[str, Any]:
    """What a bundle says of itself."""
    return {
        "name": model.name,
        "dataset": dataset,
        "data_version": data_version,
        "context": model.model.context,
        "trained_until_s": int(known.occurred_s.max()),
    }


class _Lately:
    """The last stretch of the training time, which smaller networks learn from."""

    def __init__(self, model: ChronotopeRecommender, known: EventLog, catalog: Catalog) -> None:
        self.model, self.known, self.catalog = model, known, catalog

    @cached_property
    def rounds(self) -> list[PrequentialRound]:
        """Targets with the priors of the time before them."""
        return make_rounds(self.known, self.catalog, self.model.training)[1]

    def fine_tune(self, net: ChronotopeNet) -> ChronotopeNet:
        """Train a network for one pass on what happened."""
        return fine_tune(net, self._batches(net))

    def examples(self) -> Iterable[tuple[Batch, Priors]]:
        """Queries and priors alone, as often as asked for."""
        return _Examples(self._batches(self.model.net))

    def _batches(self, net: ChronotopeNet) -> RoundBatches:
        return RoundBatches(
            self.known, self.rounds, self.model.training, reads=net.config, train=True
        )


class _Examples:
    """One pass over the queries each time it is iterated."""

    def __init__(self, batches: RoundBatches) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[tuple[Batch, Priors]]:
        """Yield (queries, priors) of one pass."""
        return ((example.batch, example.priors) for example in self.batches)
