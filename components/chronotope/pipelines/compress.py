"""Compression of the trained model: the smallest candidate that meets the objective."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from chronotope.artifact.open_bundle import BundleRecommender
from chronotope.compression.candidate_store import (
    CandidateQuality,
    CandidateStore,
    CompressionSource,
)
from chronotope.compression.compress import CompressionResult, compress
from chronotope.compression.export import template_cache
from chronotope.compression.networks import TeacherData, candidate_recipes
from chronotope.contracts.event_log import Catalog, EventLog, Int64
from chronotope.contracts.queries import Queries, queries_at
from chronotope.features.snapshot import load_features
from chronotope.metrics import evaluate, hit_rate, ndcg
from chronotope.models.batch import Batch
from chronotope.models.content_head import model_catalog
from chronotope.models.network import ChronotopeNet
from chronotope.models.priors import Priors
from chronotope.pipelines.holdout import frozen_folds, selection_targets
from chronotope.pipelines.results import CompressedCandidate, CompressionSummary
from chronotope.pipelines.settings import TrainSettings
from chronotope.pipelines.trust.held_out_users import training_log
from chronotope.registry.blessing import BlessConfig, agreement, violated_agreement_bounds
from chronotope.runtime.stored_arrays import save_arrays
from chronotope.training.fine_tune import fine_tune
from chronotope.training.prequential import PrequentialRound, RoundBatches, make_rounds
from chronotope.training.recommender import ChronotopeRecommender
from chronotope.tuning.recipe_search import search_recipes

N_PROBES: Final = 64
"""Queries whose scores by the uncompressed model are stored with a run, for the blessing."""

PROBES_FILE: Final = "probes.npz"
"""File of a run with those queries and scores."""

CANDIDATES_DIR: Final = "candidates"
"""Folder of a run with all candidates made of its network."""

COSTS_DIR: Final = "measured"
"""Folder of a run with the cost of its candidates on this machine."""


def compress_model(
    features: Path,
    settings: TrainSettings,
    run_dir: Path,
    model_path: Path,
    data_version: str,
    *,
    candidates_run_dir: Path | None = None,
) -> CompressionSummary:
    """Prune, distil, quantise and export the model, and select a candidate.

    Args:
        features: Feature snapshot.
        settings: Candidates to try, and the objective.
        run_dir: Folder of this training, with its folds.
        model_path: File of the trained model.
        data_version: Version of the events.
        candidates_run_dir: Run whose candidates are used again; by default this one. Their cost
            is measured again, their quality is not.
    """
    log, item_catalog = load_features(features)
    settings = without_training(settings)
    model = ChronotopeRecommender.load(model_path, item_catalog)
    item_catalog = model_catalog(item_catalog, model.model)
    targets = selection_targets(log, settings, run_dir)
    train_end_s = frozen_folds(run_dir).holdout.train_end_s
    trained_log = training_log(log, item_catalog, settings, train_end_s)
    probes = targets[:N_PROBES]
    query_batch = queries_at(log, probes, history_len=model.history_len, time_given=True)
    expected_scores = model.scores(query_batch)
    save_arrays(run_dir / PROBES_FILE, positions=probes, scores=expected_scores)
    teacher = _TeacherRounds(model, trained_log, item_catalog)
    candidate_store = CandidateStore(
        CompressionSource(
            model.net,
            model.priors,
            item_catalog,
            _manifest_fields(model, trained_log, run_dir.parent.name, data_version),
        ),
        TeacherData(teacher.fine_tune, teacher.examples),
        _QualityCheck(log, item_catalog, targets, query_batch, expected_scores, settings.bless),
        query_batch,
        work_dir=(candidates_run_dir or run_dir) / CANDIDATES_DIR,
        cost_dir=run_dir / COSTS_DIR,
        n_runs=settings.compression.n_runs,
        templates=template_cache(settings.workspace.cache()),
    )
    recipes = candidate_recipes(model.net, settings.compression, item_catalog.n_items)
    if settings.compression.n_trials > len(recipes):
        result = search_recipes(
            candidate_store, recipes, settings.compression, model.model.history_len
        )
    else:
        result = compress(candidate_store, recipes, settings.compression)
    return CompressionSummary(
        bundle=result.chosen.bundle_dir,
        candidates=candidate_rows(result),
        meets_objective=result.meets_objective,
        reason=result.reason,
    )


def without_training(settings: TrainSettings) -> TrainSettings:
    """Settings of which no compression trains, if the model is private; else unchanged.

    Pruned networks and students are trained on exact events, which no budget covers.

    Args:
        settings: Settings of the training.
    """
    if settings.privacy.epsilon is None:
        return settings
    untrained = {"pruned_units": 0.0, "student": False, "n_trials": 0}
    compression = settings.compression.model_copy(update=untrained)
    return settings.model_copy(update={"compression": compression})


def candidate_rows(result: CompressionResult) -> tuple[CompressedCandidate, ...]:
    """Candidates of a compression, the uncompressed reference first."""
    return tuple(
        CompressedCandidate.model_validate(asdict(summary)) for summary in result.summaries()
    )


def _manifest_fields(
    model: ChronotopeRecommender, training_log: EventLog, dataset: str, data_version: str
) -> dict[str, Any]:
    """Fields of the manifest of every bundle."""
    return {
        "name": model.name,
        "dataset": dataset,
        "data_version": data_version,
        "context": model.model.context,
        "attributes": model.attributes,
        "item_context": model.item_context,
        "trained_until_s": int(training_log.occurred_s.max()),
    }


@dataclass(frozen=True, slots=True)
class _QualityCheck:
    """Quality of a candidate on the selection targets, and its agreement with the original."""

    log: EventLog
    catalog: Catalog
    targets: Int64
    queries: Queries
    expected_scores: npt.NDArray[np.floating]
    bless_config: BlessConfig

    def __call__(self, candidate: BundleRecommender) -> CandidateQuality:
        evaluation_result = evaluate(
            candidate, self.log, self.targets, n_items=self.catalog.n_items, time_given=True
        )
        score_agreement = agreement(
            candidate.scores(self.queries), self.expected_scores, self.bless_config.k
        )
        return CandidateQuality(
            float(ndcg(evaluation_result.rank, 10).mean()),
            float(hit_rate(evaluation_result.rank, 10).mean()),
            "; ".join(violated_agreement_bounds(score_agreement, self.bless_config)),
        )


class _TeacherRounds:
    """Latest rounds of the training time, from which smaller networks are distilled."""

    def __init__(
        self, model: ChronotopeRecommender, training_log: EventLog, catalog: Catalog
    ) -> None:
        self.model, self.training_log, self.catalog = model, training_log, catalog

    @cached_property
    def rounds(self) -> list[PrequentialRound]:
        """Targets with the priors of the time before them."""
        return make_rounds(self.training_log, self.catalog, self.model.training)[1]

    def fine_tune(self, net: ChronotopeNet) -> ChronotopeNet:
        """Train a network for one pass over the targets."""
        return fine_tune(net, self._batches(net))

    def examples(self) -> Iterable[tuple[Batch, Priors]]:
        """Queries and priors without targets; each iteration is one pass."""
        return _QueryPasses(self._batches(self.model.net))

    def _batches(self, net: ChronotopeNet) -> RoundBatches:
        return RoundBatches(
            self.training_log,
            self.rounds,
            self.model.training,
            model_config=net.config,
            is_training=True,
        )


class _QueryPasses:
    """Queries and priors of some batches; each iteration is one pass."""

    def __init__(self, batches: RoundBatches) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[tuple[Batch, Priors]]:
        """Yield (queries, priors) of one pass."""
        return ((example.batch, example.priors) for example in self.batches)
