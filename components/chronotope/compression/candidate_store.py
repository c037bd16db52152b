"""Store of compression candidates: each network, graph, index and evaluation is made once.

Networks are few and expensive, variants many and cheap. All results are files::

    networks/student-h64-w12.pt          trained once
    graphs/student-h64-w12.onnx          exported once; its variants beside it
    indices/full-index8/items.npz        of a large catalogue: built once
    student-h64-w12-int8_tables/         the bundle
    drafts/                              the same of networks that are not trained (yet)
    evaluations/student-h64-w12-int8_tables.json
    <cost_dir>/student-h64-w12-int8_tables.json

so a study that was killed, or is run again with another objective, trains nothing twice.
"""

import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Final, TypeVar

from pydantic import TypeAdapter, ValidationError

from chronotope.artifact.bundle import (
    INDEX,
    MANIFEST,
    MODEL,
    RESIDUALS,
    read_manifest,
    write_bundle,
)
from chronotope.artifact.graph_files import copy_graph
from chronotope.artifact.open_bundle import BundleRecommender, open_bundle
from chronotope.compression.build_index import IndexConfig
from chronotope.compression.bundle_cost import BundleCost, LoadCost, measure_latency, measure_load
from chronotope.compression.export import export_onnx
from chronotope.compression.export_indexed import export_query_graph, index_items
from chronotope.compression.graph_variants import derive_variant
from chronotope.compression.networks import (
    DistillationQueries,
    TeacherData,
    make_network,
    read_network,
    write_network,
)
from chronotope.compression.recipe import REFERENCE, Recipe
from chronotope.compression.selection import Candidate, CandidateEvaluation
from chronotope.contracts.errors import ArtifactError, StoreError
from chronotope.contracts.event_log import Catalog
from chronotope.contracts.queries import Queries
from chronotope.models.network import ChronotopeNet
from chronotope.models.priors import Priors, first_successors
from chronotope.runtime.durable_files import read_json, replacing, write_json
from chronotope.runtime.file_cache import ContentCache
from chronotope.runtime.file_links import link_or_copy

_LOG = logging.getLogger(__name__)

DRAFTS: Final = "drafts"
"""Folder of candidates whose networks are not trained."""


@dataclass(frozen=True, slots=True)
class CompressionSource:
    """The trained network that is compressed.

    Attributes:
        net: The trained network.
        priors: The state frozen into the graph.
        catalog: The catalogue it was built for.
        manifest_fields: Fields of the bundle's manifest except digests and ``history_len``.
    """

    net: ChronotopeNet
    priors: Priors
    catalog: Catalog
    manifest_fields: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class CandidateQuality:
    """Accuracy of a bundle on targets later than the training.

    Attributes:
        ndcg: NDCG@10.
        acc: Acc@10.
        refused: Reason why it may not be shipped however accurate it is; empty if it may.
    """

    ndcg: float
    acc: float
    refused: str = ""


StepResult = TypeVar("StepResult", CandidateQuality, BundleCost, LoadCost)


@dataclass(frozen=True)
class CandidateStore:
    """Candidates of one trained network, made on demand and stored.

    Attributes:
        source: The trained network.
        teacher_data: Training data of smaller networks; None leaves them untrained.
        evaluate_bundle: Computes the quality of a bundle.
        queries: Queries whose latency is measured.
        work_dir: Folder of networks, graphs, bundles and evaluations.
        cost_dir: Folder of measured costs; a new folder measures again.
        n_runs: Queries timed a candidate.
        templates: Cache of traced graphs; by default that of ``default_cache``.
    """

    source: CompressionSource
    teacher_data: TeacherData | None
    evaluate_bundle: Callable[[BundleRecommender], CandidateQuality]
    queries: Queries
    work_dir: Path
    cost_dir: Path
    n_runs: int = 200
    templates: ContentCache | None = None
    _networks: dict[str, ChronotopeNet] = field(default_factory=dict)

    def draft(self, recipe: Recipe) -> Candidate:
        """The candidate with size and latency, its network not yet trained, nor evaluated.

        Training changes the values of the weights: not the latency, and the size by little.
        """
        return self._store_of_draft(recipe).measure(recipe)

    def draft_digest(self, recipe: Recipe) -> str:
        """Digest of the serving files of a draft."""
        return self._store_of_draft(recipe).digest(recipe)

    def measure(self, recipe: Recipe) -> Candidate:
        """The candidate with its size and latency, not evaluated."""
        bundle_dir = self._make_bundle(recipe)
        cost = _stored_result(
            self.cost_dir / f"{recipe.name}.json",
            BundleCost,
            lambda: measure_latency(bundle_dir, self.queries, n_runs=self.n_runs),
        )
        return Candidate(recipe.name, bundle_dir, cost, None)

    def evaluate(self, recipe: Recipe) -> Candidate:
        """The candidate with its accuracy, and its throughput and memory, too."""
        candidate = self.measure(recipe)
        quality = _stored_result(
            self.work_dir / "evaluations" / f"{recipe.behaviour}.json",
            CandidateQuality,
            lambda: self.evaluate_bundle(open_bundle(candidate.bundle_dir)),
        )
        load_cost = _stored_result(
            self.cost_dir / f"{recipe.name}-load.json",
            LoadCost,
            lambda: measure_load(candidate.bundle_dir, self.queries, n_runs=self.n_runs),
        )
        evaluation_result = CandidateEvaluation(
            quality.ndcg, quality.acc, load_cost, quality.refused
        )
        return Candidate(candidate.name, candidate.bundle_dir, candidate.cost, evaluation_result)

    def digest(self, recipe: Recipe) -> str:
        """Digest of the serving files; candidates with equal digests are one."""
        return read_manifest(self._make_bundle(recipe)).serving_digest

    def _store_of_draft(self, recipe: Recipe) -> "CandidateStore":
        return self if recipe.network_name == REFERENCE.network_name else self._untrained

    @cached_property
    def _untrained(self) -> "CandidateStore":
        """Candidates of networks that are pruned or initialised, but not trained."""
        work_dir, cost_dir = self.work_dir / DRAFTS, self.cost_dir / DRAFTS
        return replace(self, teacher_data=None, work_dir=work_dir, cost_dir=cost_dir, _networks={})

    def _make_bundle(self, recipe: Recipe) -> Path:
        bundle_dir = self.work_dir / recipe.name
        self._discard_damaged(recipe, bundle_dir)
        if not (bundle_dir / MANIFEST).exists():  # it is written last
            bundle_dir.mkdir(parents=True, exist_ok=True)
            copy_graph(self._make_variant(recipe), bundle_dir / MODEL)
            if recipe.n_codes:
                index_dir = self._make_index(recipe)
                for file_name in (INDEX, RESIDUALS) if recipe.rerank else (INDEX,):
                    link_or_copy(index_dir / file_name, bundle_dir / file_name)
            history_len = self._make_network(recipe).config.history_len
            manifest_fields = {**self.source.manifest_fields, "history_len": history_len}
            write_bundle(bundle_dir, self.source.catalog, **manifest_fields)
        return bundle_dir

    def _discard_damaged(self, recipe: Recipe, bundle_dir: Path) -> None:
        """Remove a bundle that differs from its manifest, and the files it was linked from."""
        if not (bundle_dir / MANIFEST).exists():
            return
        try:
            read_manifest(bundle_dir)
        except ArtifactError as error:
            _LOG.warning("A damaged candidate is made again: %s", error)
            for graph_path in (self._graph_path(recipe), self._variant_path(recipe)):
                shutil.rmtree(graph_path.parent, ignore_errors=True)
            shutil.rmtree(self._index_dir(recipe), ignore_errors=True)
            shutil.rmtree(bundle_dir)

    def _graph_path(self, recipe: Recipe) -> Path:
        return self.work_dir / "graphs" / recipe.graph_name / MODEL

    def _variant_path(self, recipe: Recipe) -> Path:
        return self.work_dir / "graphs" / f"{recipe.graph_name}-{recipe.variant}" / MODEL

    def _index_dir(self, recipe: Recipe) -> Path:
        return self.work_dir / "indices" / f"{recipe.graph_name}{recipe.n_codes}"

    def _make_variant(self, recipe: Recipe) -> Path:
        """The graph in fewer bits: one file for all indexes beside it."""
        variant_path = self._variant_path(recipe)
        if not variant_path.exists():
            with replacing(variant_path) as draft_path:
                derive_variant(self._make_graph(recipe), draft_path, recipe.variant)
        return variant_path

    def _make_graph(self, recipe: Recipe) -> Path:
        graph_path = self._graph_path(recipe)
        if not graph_path.exists():
            export_graph = export_query_graph if recipe.n_codes else export_onnx
            with replacing(graph_path) as draft_path:
                export_graph(
                    self._make_network(recipe), self._priors(recipe), draft_path, self.templates
                )
        return graph_path

    def _make_index(self, recipe: Recipe) -> Path:
        """Folder of codes and residuals; the latter are written last."""
        index_dir = self._index_dir(recipe)
        if not (index_dir / RESIDUALS).exists():
            index, residuals = index_items(
                self._make_network(recipe),
                self._priors(recipe),
                self.source.catalog,
                self._examples(),
                IndexConfig(n_codes=recipe.n_codes),
            )
            with replacing(index_dir / INDEX) as draft_path:
                index.save(draft_path)
            with replacing(index_dir / RESIDUALS) as draft_path:
                residuals.save(draft_path)
        return index_dir

    def _examples(self) -> DistillationQueries:
        return () if self.teacher_data is None else self.teacher_data.examples()

    def _priors(self, recipe: Recipe) -> Priors:
        return first_successors(self.source.priors, recipe.n_successors)

    def _make_network(self, recipe: Recipe) -> ChronotopeNet:
        source, network_name = self.source, recipe.network_name
        if network_name == REFERENCE.network_name:
            return source.net
        if network_name not in self._networks:
            network_path = self.work_dir / "networks" / f"{network_name}.pt"
            if not network_path.exists():
                network = make_network(recipe, source.net, source.catalog, self.teacher_data)
                write_network(network, network_path)
            self._networks[network_name] = read_network(network_path, source.catalog)
        return self._networks[network_name]


def _stored_result(
    result_path: Path, result_class: type[StepResult], compute: Callable[[], StepResult]
) -> StepResult:
    """The stored result; computed and stored where there is none, or a damaged one."""
    if result_path.exists():
        try:
            return _read_result(result_path, result_class)
        except StoreError as error:
            _LOG.warning("A candidate is measured again: %s", error)
    write_json(result_path, asdict(compute()))
    return _read_result(result_path, result_class)


def _read_result(result_path: Path, result_class: type[StepResult]) -> StepResult:
    way_out = "Delete the file: it is measured again"
    content = read_json(result_path, subject="The measurement of a candidate", way_out=way_out)
    try:
        return TypeAdapter(result_class).validate_python(content)
    except ValidationError as error:
        raise StoreError(
            "The measurement of a candidate has other fields than expected",
            received=f"{result_path}: {error}",
            way_out=way_out,
        ) from error
