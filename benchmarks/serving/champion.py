"""Champion to serve: generated log, one short training, registered and promoted."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self

import numpy as np

from benchmarks.serving.log import write_log
from chronotope.artifact.bundle import INDEX, MODEL, RESIDUALS, read_manifest, write_bundle
from chronotope.compression.build_index import IndexConfig
from chronotope.compression.export import export_onnx
from chronotope.compression.export_indexed import export_query_graph, index_items
from chronotope.compression.graph_variants import derive_variant
from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.contracts.queries import Queries, queries_at
from chronotope.datasets.normalise import normalise
from chronotope.datasets.readers import read_events, read_items
from chronotope.features.build import build_features
from chronotope.features.snapshot import load_features
from chronotope.features.sources import FeaturesConfig
from chronotope.lake import Lake
from chronotope.models.batch import to_batch
from chronotope.models.config import ModelConfig
from chronotope.registry.mlflow_store import open_store
from chronotope.registry.model_versions import register_version
from chronotope.registry.promotion import promote
from chronotope.runtime.workspace import Workspace
from chronotope.training.config import TrainingConfig
from chronotope.training.recommender import ChronotopeRecommender

DATASET: Final = "served_city"
N_EXAMPLES: Final = 1024
"""Queries that the codes of an index are trained for."""

_WEIGHTS: Final = "weights.pt"


@dataclass(frozen=True)
class Served:
    """Champion and data that all servers share.

    Attributes:
        root: Project root.
        bundle: The champion's bundle.
        log, catalog: Training data.
    """

    root: Path
    bundle: Path
    log: EventLog
    catalog: Catalog

    @classmethod
    def make(cls, root: Path, *, n_items: int, history_len: int, n_codes: int = 0) -> Self:
        """Train for one epoch; the cost of serving does not depend on accuracy.

        Args:
            root: Project root.
            n_items: Size of the catalogue.
            history_len: Events that the graph reads.
            n_codes: Bytes an item of the index that ranks the items, which have no coordinates
                then; 0 scores them all.
        """
        spec = write_log(DATASET, (root / "inbox").resolve(), n_items, placed=not n_codes)
        lake = Lake(Workspace(root).lake(DATASET))
        for raw in read_events(spec, batch_rows=500_000):
            lake.merge_events(normalise(spec, raw).rows)
        items = read_items(spec)
        lake.upsert_items(items)
        config = FeaturesConfig(items_are_places=not n_codes)
        out = Workspace(root).features(DATASET)
        built = build_features(lake.dataset("events"), items, config=config, out=out)
        log, catalog = load_features(built.path)
        log = log.take(np.arange(len(log)))  # torch wants arrays of its own, not a file's
        training = TrainingConfig(max_epochs=1, n_rounds=2, max_targets=1_000)
        backbone = "transformer" if n_codes else "none"
        reads = ModelConfig(history_len=history_len, backbone=backbone)
        model = ChronotopeRecommender(reads, training)
        model.fit(log, catalog)
        bundle = root / "bundle"
        bundle.mkdir()
        model.save(root / _WEIGHTS)
        if n_codes:
            _write_indexed(model, log, catalog, bundle, n_codes)
        else:
            export_onnx(model.net, model.priors, bundle / MODEL)
        write_bundle(
            bundle,
            catalog,
            name=model.name,
            dataset=DATASET,
            data_version="0",
            history_len=history_len,
            trained_until_s=int(log.occurred_s.max()),
        )
        _crown(root, bundle)
        return cls(root, bundle, log, catalog)

    @classmethod
    def read(cls, root: Path) -> Self:
        """Read the results of ``make`` below a root."""
        (features,) = Workspace(root).features(DATASET).iterdir()
        return cls(root, root / "bundle", *load_features(features))

    def torch_model(self) -> ChronotopeRecommender:
        """The same model in torch, not exported."""
        return ChronotopeRecommender.load(self.root / _WEIGHTS, self.catalog)

    def write_histories(self, path: Path) -> None:
        """Write users' events as plain arrays, for a server without this package."""
        log, users = self.log, self.catalog.users.ids.to_pylist()
        start = np.searchsorted(log.user_idx, np.arange(1, len(users) + 2))
        names = ("item_idx", "occurred_s", "utc_offset_min", "place_idx")
        columns = {name: getattr(log, name) for name in names}
        items = np.array(["", *self.catalog.items.ids.to_pylist()])
        np.savez(path, user=np.array(users), start=start, items=items, **columns)

    def questions(self, n: int) -> list[dict[str, object]]:
        """Distinct requests: users at times after their last event, as HTTP bodies."""
        draw = np.random.default_rng(0)
        users = self.catalog.users.ids.take(draw.integers(0, self.catalog.users.size - 1, n))
        seconds = int(self.log.occurred_s.max()) + 1 + np.arange(n)
        moments = np.datetime_as_string(seconds.astype("datetime64[s]"), timezone="UTC")
        return [
            {"user_id": user, "request_time": str(moment), "k": 10}
            for user, moment in zip(users.to_pylist(), moments, strict=True)
        ]

    def queries(self, n: int) -> list[Queries]:
        """The same requests as inputs of the graph."""
        asked = self.questions(n)
        users = self.catalog.users.index([str(one["user_id"]) for one in asked])
        last = np.searchsorted(self.log.user_idx, users, side="right") - 1
        starts = (self.log.user_start(), self.log.basket_start())
        width = read_manifest(self.bundle).history_len
        return [
            replace(
                queries_at(
                    self.log,
                    last[i : i + 1],
                    history_len=width,
                    time_given=True,
                    start_positions=starts,
                ),
                request_s=np.array(
                    [np.datetime64(str(one["request_time"]).rstrip("Z"), "s").astype(int)]
                ),
            )
            for i, one in enumerate(asked)
        ]


def _write_indexed(
    model: ChronotopeRecommender, log: EventLog, catalog: Catalog, folder: Path, n_codes: int
) -> None:
    """Write the query graph, the codes of the items, and their residuals."""
    net, priors = model.net, model.priors
    export_query_graph(net, priors, folder / "exported.onnx")
    derive_variant(folder / "exported.onnx", folder / MODEL, "fp16_tables")
    (folder / "exported.onnx").unlink()
    some = np.random.default_rng(0).integers(1, len(log), N_EXAMPLES)
    asked = queries_at(log, some, history_len=net.config.history_len, time_given=True)
    batch = to_batch(asked, net.config.history_len)
    index, residuals = index_items(
        net, priors, catalog, [(batch, priors)], IndexConfig(n_codes=n_codes)
    )
    index.save(folder / INDEX)
    residuals.save(folder / RESIDUALS)


def _crown(root: Path, bundle: Path) -> None:
    store = open_store(Workspace(root).mlruns)
    with store.run(DATASET, "bench") as tracker:
        made = register_version(
            store, name=DATASET, bundle_dir=bundle, run_id=tracker.run_id, tags={}
        )
    promote(store, DATASET, made.version, expected_champion=None, key="bench", reason="bench")
