"""From one trained network to the smallest bundle that is as good."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from chronotope.artifact.bundle import MODEL, write_bundle
from chronotope.artifact.onnx_recommender import OnnxRecommender
from chronotope.compression.choose import Candidate, CompressionConfig, choose
from chronotope.compression.distill import distil, make_student
from chronotope.compression.export import export_onnx
from chronotope.compression.int8 import Variant, derive
from chronotope.compression.measure import measure
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
    """Everything tried, the uncompressed reference first, and what to ship."""

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

    Each network is exported once; its variants are derived from that file.

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
    variants: tuple[Variant, ...] = ("float32", *(v for v in config.variants if v != "float32"))
    candidates = []
    for network, net in _networks(source, config, fine_tune, examples):
        with TemporaryDirectory() as scratch:
            graph = Path(scratch) / MODEL
            export_onnx(net, source.priors, graph)
            for variant in variants:
                folder = _bundle(graph, variant, net, source, out / f"{network}-{variant}")
                ndcg = float(evaluate(OnnxRecommender.load(folder)))
                measured = measure(folder, queries, n_runs=config.n_runs)
                candidates.append(Candidate(folder.name, folder, ndcg, measured))
    return CompressionResult(tuple(candidates), choose(candidates, config))


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
    if examples is not None:
        student = make_student(
            source.net,
            source.catalog,
            history_len=config.student_history_len,
            n_hidden=config.student_hidden,
        )
        yield "student", distil(source.net, student, examples)


def _bundle(
    graph: Path, variant: Variant, net: ChronotopeNet, source: Source, folder: Path
) -> Path:
    """Write one candidate's bundle."""
    folder.mkdir(parents=True, exist_ok=True)
    derive(graph, folder / MODEL, variant)
    write_bundle(folder, source.catalog, **{**source.about, "history_len": net.config.history_len})
    return folder
