"""From one trained network to the smallest bundle that is as good."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from chronotope.artifact.bundle import MODEL, write_bundle
from chronotope.artifact.onnx_recommender import OnnxRecommender
from chronotope.compression.choose import Candidate, CompressionConfig, choose, holds
from chronotope.compression.distill import distil, make_student
from chronotope.compression.export import export_onnx
from chronotope.compression.int8 import Variant, derive
from chronotope.compression.measure import Measured, measure
from chronotope.compression.prune import FineTune, prune_units, prune_weights
from chronotope.contracts.eventlog import Catalog
from chronotope.contracts.queries import Queries
from chronotope.models.batch import Batch
from chronotope.models.network import ChronotopeNet
from chronotope.models.priors import Priors


@dataclass(frozen=True, slots=True)
class Source:
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


@dataclass(frozen=True, slots=True)
class CompressionResult:
    """Everything evaluated, the uncompressed reference first, and what to ship."""

    candidates: tuple[Candidate, ...]
    chosen: Candidate

    def rows(self) -> list[dict[str, object]]:
        """One row a candidate: name, NDCG@10, size and latency, whether it is chosen."""
        return [
            {"name": c.name, "ndcg": c.ndcg, **asdict(c.measured), "chosen": c is self.chosen}
            for c in self.candidates
        ]


def compress(
    source: Source,
    *,
    evaluate: Callable[[OnnxRecommender], float],
    queries: Queries,
    out: Path,
    config: CompressionConfig | None = None,
    fine_tune: FineTune | None = None,
    examples: Iterable[tuple[Batch, Priors]] | None = None,
) -> CompressionResult:
    """Make, measure and evaluate candidates, and choose the smallest good one.

    Each network is exported once; its variants are derived from that file. All are
    measured; only those that could still be chosen are evaluated.

    Args:
        source: The trained network and what belongs to it.
        evaluate: NDCG@10 of a bundle, on time later than the training.
        queries: Questions for the latency.
        out: Folder that gets one bundle a candidate.
        config: What is tried and what it may cost.
        fine_tune: Trains a pruned network further; without it nothing is pruned.
        examples: Queries and priors to distil on; without them there is no student.
    """
    config = config or CompressionConfig()
    made = [
        bundle
        for network, net in _networks(source, config, fine_tune, examples)
        for bundle in _variants(network, net, source, queries, out, config)
    ]
    candidates = _evaluated(made, evaluate, config)
    return CompressionResult(tuple(candidates), choose(candidates, config))


@dataclass(frozen=True, slots=True)
class _Made:
    """A bundle that is measured, not yet evaluated; equal behaviours give equal scores."""

    folder: Path
    measured: Measured
    behaviour: tuple[str, Variant]


def _variants(
    network: str,
    net: ChronotopeNet,
    source: Source,
    queries: Queries,
    out: Path,
    config: CompressionConfig,
) -> Iterator[_Made]:
    """Export a network once and derive its variants; of equal graphs the first is kept."""
    seen: set[bytes] = set()
    variants: tuple[Variant, ...] = ("float32", *(v for v in config.variants if v != "float32"))
    with TemporaryDirectory() as scratch:
        exported, graph = Path(scratch) / "exported.onnx", Path(scratch) / MODEL
        export_onnx(net, source.priors, exported)
        for variant in variants:
            derive(exported, graph, variant)
            stored = graph.read_bytes()
            if stored in seen:
                continue
            seen.add(stored)
            folder = _bundle(stored, net, source, out / f"{network}-{variant}")
            measured = measure(folder, queries, n_runs=config.n_runs)
            scored_as: Variant = "float32" if variant == "exact_tables" else variant
            yield _Made(folder, measured, (network, scored_as))


def _evaluated(
    made: Sequence[_Made], evaluate: Callable[[OnnxRecommender], float], config: CompressionConfig
) -> list[Candidate]:
    """The reference, then the smallest first, until nothing larger could be chosen.

    Evaluation is what costs time: what is too large or too slow to be chosen is left out,
    and tables narrowed without loss count as the network they come from.
    """
    known: dict[tuple[str, Variant], float] = {}

    def judged(bundle: _Made) -> Candidate:
        if bundle.behaviour not in known:
            known[bundle.behaviour] = float(evaluate(OnnxRecommender.load(bundle.folder)))
        ndcg = known[bundle.behaviour]
        return Candidate(bundle.folder.name, bundle.folder, ndcg, bundle.measured)

    reference = judged(made[0])
    candidates, largest_mb = [reference], math.inf
    for bundle in sorted(made[1:], key=lambda bundle: bundle.measured.size_mb):
        size_mb = bundle.measured.size_mb
        if size_mb > largest_mb:
            break
        if bundle.measured.p50_ms > config.max_p50_ms:
            continue
        candidates.append(judged(bundle))
        if holds(candidates[-1], reference, config):
            largest_mb = min(largest_mb, size_mb * (1 + config.size_tie))
    return candidates


def _networks(
    source: Source,
    config: CompressionConfig,
    fine_tune: FineTune | None,
    examples: Iterable[tuple[Batch, Priors]] | None,
) -> Iterator[tuple[str, ChronotopeNet]]:
    """The network as it is, then smaller ones, made when their turn comes."""
    yield "full", source.net
    if fine_tune is not None and config.pruned_weights > 0:
        yield "sparse", prune_weights(source.net, config.pruned_weights, fine_tune)
    if fine_tune is not None and config.pruned_units > 0:
        yield "narrow", prune_units(source.net, config.pruned_units, fine_tune)
    if examples is not None and config.student:
        student = make_student(
            source.net,
            source.catalog,
            history_len=config.student_history_len,
            n_hidden=config.student_hidden,
        )
        yield "student", distil(source.net, student, examples)


def _bundle(graph: bytes, net: ChronotopeNet, source: Source, folder: Path) -> Path:
    """Write one candidate's bundle."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MODEL).write_bytes(graph)
    write_bundle(folder, source.catalog, **{**source.about, "history_len": net.config.history_len})
    return folder
