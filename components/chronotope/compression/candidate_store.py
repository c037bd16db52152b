"""Makes, measures and evaluates candidates, each part of the work once.

Networks are few and dear, variants many and cheap. All is kept in a folder::

    networks/student-h64-w12.pt          trained once
    graphs/student-h64-w12.onnx          exported once; its variants beside it
    indices/full-index8/items.npz        of a large catalogue: built once
    student-h64-w12-int8_tables/         the bundle
    judged/student-h64-w12-int8_tables.json
    <measures>/student-h64-w12-int8_tables.json

so a study that was killed, or is run again with another objective, trains nothing twice.
"""

import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from chronotope.artifact.bundle import (
    INDEX,
    MANIFEST,
    MODEL,
    REMAINDERS,
    read_manifest,
    write_bundle,
)
from chronotope.artifact.open_bundle import BundleRecommender, open_bundle
from chronotope.compression.build_index import IndexConfig
from chronotope.compression.bundle_cost import BundleCost, LoadCost, measure_latency, measure_load
from chronotope.compression.export import export_onnx
from chronotope.compression.export_indexed import export_query_graph, index_items
from chronotope.compression.graph_variants import derive_variant
from chronotope.compression.networks import TeacherData, make_network, read_network, write_network
from chronotope.compression.recipe import REFERENCE, Recipe
from chronotope.compression.selection import Candidate, CandidateEvaluation
from chronotope.contracts.errors import ArtifactError, StoreError
from chronotope.contracts.event_log import Catalog
from chronotope.contracts.queries import Queries
from chronotope.models.network import ChronotopeNet
from chronotope.models.priors import Priors, first_successors
from chronotope.runtime.durable_files import read_json, replacing, write_json
from chronotope.runtime.file_links import link_or_copy

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CompressionSource:
    """What is compressed.

    Attributes:
        net: The trained network.
        priors: The state frozen into the graph.
        catalog: The catalogue it was built for.
        about: Fields of the bundle's manifest except digests and ``history_len``.
    """

    net: ChronotopeNet
    priors: Priors
    catalog: Catalog
    about: Mapping[str, object]


class CandidateQuality(NamedTuple):
    """What an evaluation found, on time later than the training.

    Attributes:
        ndcg: NDCG@10.
        acc: Acc@10.
        refused: Why it may not be shipped however accurate it is; empty if it may.
    """

    ndcg: float
    acc: float
    refused: str = ""


@dataclass(frozen=True)
class CandidateStore:
    """One trained network and what its candidates are made with.

    Attributes:
        source: What is compressed.
        teaching: What smaller networks learn from.
        evaluate: Quality of a bundle.
        queries: Questions for the latency.
        folder: Keeps what is made.
        measures: Keeps what was measured; a folder of its own measures again.
        n_runs: Queries timed a candidate.
    """

    source: CompressionSource
    teaching: TeacherData
    evaluate: Callable[[BundleRecommender], CandidateQuality]
    queries: Queries
    folder: Path
    measures: Path
    n_runs: int = 200
    _nets: dict[str, ChronotopeNet] = field(default_factory=dict)

    def measured(self, recipe: Recipe) -> Candidate:
        """Make a candidate and take its size and latency; it is not evaluated."""
        folder = self._bundle(recipe)
        work = lambda: asdict(measure_latency(folder, self.queries, n_runs=self.n_runs))  # noqa: E731
        found = _kept(self.measures / f"{recipe.name}.json", work)
        return Candidate(recipe.name, folder, BundleCost(**found), None)

    def judged(self, recipe: Recipe) -> Candidate:
        """Make a candidate, measure it, evaluate it and weigh it under load."""
        candidate = self.measured(recipe)
        quality = _kept(
            self.folder / "judged" / f"{recipe.behaviour}.json",
            lambda: self.evaluate(open_bundle(candidate.folder))._asdict(),
        )
        load = _kept(
            self.measures / f"{recipe.name}-load.json",
            lambda: asdict(measure_load(candidate.folder, self.queries, n_runs=self.n_runs)),
        )
        judged = CandidateEvaluation(**quality, load=LoadCost(**load))
        return Candidate(candidate.name, candidate.folder, candidate.measured, judged)

    def digest(self, recipe: Recipe) -> str:
        """Digest of what answers: of equal ones, one is enough."""
        return read_manifest(self._bundle(recipe)).answering

    def _bundle(self, recipe: Recipe) -> Path:
        folder = self.folder / recipe.name
        self._discard_damaged(recipe, folder)
        if not (folder / MANIFEST).exists():  # it is written last
            folder.mkdir(parents=True, exist_ok=True)
            link_or_copy(self._stored(recipe), folder / MODEL)
            if recipe.n_codes:
                index = self._index(recipe)
                for name in (INDEX, REMAINDERS) if recipe.rerank else (INDEX,):
                    link_or_copy(index / name, folder / name)
            history_len = self._network(recipe).config.history_len
            write_bundle(
                folder, self.source.catalog, **{**self.source.about, "history_len": history_len}
            )
        return folder

    def _discard_damaged(self, recipe: Recipe, folder: Path) -> None:
        """Remove a bundle that differs from its manifest, and what it was linked from."""
        if not (folder / MANIFEST).exists():
            return
        try:
            read_manifest(folder)
        except ArtifactError as error:
            _LOG.warning("A candidate is made again: %s", error)
            for path in (self._graph_path(recipe), self._stored_path(recipe)):
                path.unlink(missing_ok=True)
            shutil.rmtree(self._index_path(recipe), ignore_errors=True)
            shutil.rmtree(folder)

    def _graph_path(self, recipe: Recipe) -> Path:
        return self.folder / "graphs" / f"{recipe.graph_name}.onnx"

    def _stored_path(self, recipe: Recipe) -> Path:
        return self.folder / "graphs" / f"{recipe.graph_name}-{recipe.variant}.onnx"

    def _index_path(self, recipe: Recipe) -> Path:
        return self.folder / "indices" / f"{recipe.graph_name}{recipe.n_codes}"

    def _stored(self, recipe: Recipe) -> Path:
        """The graph in fewer bits: one file for all indexes beside it."""
        path = self._stored_path(recipe)
        if not path.exists():
            with replacing(path) as draft:
                derive_variant(self._graph(recipe), draft, recipe.variant)
        return path

    def _graph(self, recipe: Recipe) -> Path:
        path = self._graph_path(recipe)
        if not path.exists():
            export = export_query_graph if recipe.n_codes else export_onnx
            with replacing(path) as draft:
                export(self._network(recipe), self._priors(recipe), draft)
        return path

    def _index(self, recipe: Recipe) -> Path:
        """Folder of codes and remainders; the latter are written last."""
        folder = self._index_path(recipe)
        if not (folder / REMAINDERS).exists():
            examples, config = self.teaching.examples(), IndexConfig(n_codes=recipe.n_codes)
            net, priors, catalog = self._network(recipe), self._priors(recipe), self.source.catalog
            index, remainders = index_items(net, priors, catalog, examples, config)
            with replacing(folder / INDEX) as draft:
                index.save(draft)
            with replacing(folder / REMAINDERS) as draft:
                remainders.save(draft)
        return folder

    def _priors(self, recipe: Recipe) -> Priors:
        return first_successors(self.source.priors, recipe.n_successors)

    def _network(self, recipe: Recipe) -> ChronotopeNet:
        source, name = self.source, recipe.network_name
        if name == REFERENCE.network_name:
            return source.net
        if name not in self._nets:
            path = self.folder / "networks" / f"{name}.pt"
            if not path.exists():
                made = make_network(recipe, source.net, source.catalog, self.teaching)
                write_network(made, path)
            self._nets[name] = read_network(path, source.catalog)
        return self._nets[name]


def _kept(path: Path, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What work found, read if it was done before."""
    what, way_out = "What a candidate was measured at", "Delete the file: it is measured again"
    if path.exists():
        try:
            return read_json(path, what=what, way_out=way_out)
        except StoreError as error:
            _LOG.warning("A candidate is measured again: %s", error)
    write_json(path, work())
    return read_json(path, what=what, way_out=way_out)
