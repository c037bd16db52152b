"""A small trained champion whose items have texts, over a lake with the same items and events."""

import shutil
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import torch
from fastapi import FastAPI

from chronotope.artifact.bundle import MODEL, read_vocabulary, write_bundle
from chronotope.artifact.open_bundle import open_bundle
from chronotope.compression.export import export_onnx
from chronotope.content.embed_items import embed_modality
from chronotope.content.encoder import Modality
from chronotope.content.item_vectors import read_item_content
from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.contracts.ids import IdMap
from chronotope.datasets.content_spec import ContentSpec, TextContent
from chronotope.inference.new_items import ContentSource
from chronotope.lake import Lake
from chronotope.models.config import ModelConfig
from chronotope.models.priors import count_priors
from chronotope.registry.champion import Champion
from chronotope.runtime.workspace import Workspace
from chronotope.serving.api.app import create_app
from chronotope.serving.settings import ServeSettings
from chronotope.training.config import TrainingConfig
from chronotope.training.recommender import ChronotopeRecommender

WORDS: Final = ("rocket star planet orbit", "love paris wedding heart", "pasta oven kitchen soup")
"""Words of the texts, by kind of item; user n likes kind n % 3."""

N_EACH, N_USERS, N_EVENTS = 12, 24, 20
START_S: Final = 1_600_000_000
AT: Final = "2020-10-20T12:00:00Z"
CONTENT: Final = ContentSpec(text=TextContent(columns=("title", "text")))
NEW_FILM: Final = {"item_id": "new", "title": "orbit", "text": "star rocket planet orbit"}


def fill_content_lake(root: Path) -> Lake:
    """Items with texts, encoded by TF-IDF, and events of users who each like one kind."""
    rng = np.random.default_rng(0)
    n_items = len(WORDS) * N_EACH
    texts = [" ".join(rng.permutation(WORDS[n % 3].split())) for n in range(n_items)]
    ids = [f"i{n:02d}" for n in range(n_items)]
    lake = Lake(Workspace(root).lake("city"))
    categories = [f"kind {n % 3}" for n in range(n_items)]
    items = {"item_id": ids, "title": [f"film {n}" for n in range(n_items)]}
    lake.upsert_items(pa.table({**items, "text": texts, "category": categories}))
    user_idx = np.repeat(np.arange(N_USERS), N_EVENTS)
    item_idx = user_idx % 3 + 3 * rng.integers(0, N_EACH, len(user_idx))
    second = START_S + rng.integers(0, 28 * 86_400, len(user_idx))
    events = {
        "event_id": [f"e{n}" for n in range(len(user_idx))],
        "user_id": [f"u{user:02d}" for user in user_idx],
        "item_id": [ids[item] for item in item_idx],
        "event_type": ["view"] * len(user_idx),
        "occurred_at": pa.array(second * 1_000_000, pa.timestamp("us", tz="UTC")),
    }
    lake.merge_events(pa.table(events))
    text = CONTENT.text
    assert text is not None
    embed_modality(Modality.TEXT, text, lake, data_dir=root, cache_dir=root / "data" / "cache")
    return lake


def read_log(lake: Lake) -> tuple[EventLog, Catalog]:
    """Log and catalogue of the lake, without the noise filters of a training."""
    items = lake.read("items").sort_by("item_id")
    events = lake.read("events")
    item_ids, users = IdMap.of(items["item_id"]), IdMap.of(events["user_id"])
    categories = IdMap.of(items["category"])
    nowhere = np.full(item_ids.size, np.nan)
    content = read_item_content(lake, [Modality.TEXT], ["", *item_ids.ids.to_pylist()])
    catalog = Catalog(
        users=users,
        items=item_ids,
        places=IdMap.of([]),
        categories=categories,
        item_category=np.r_[0, categories.index(items["category"])].astype(np.int32),
        item_lat=nowhere,
        item_lon=nowhere,
        place_lat=nowhere[:1],
        place_lon=nowhere[:1],
        item_title=np.array(["", *items["title"].to_pylist()]),
        content=content,
    )
    item_idx = item_ids.index(events["item_id"])
    log = EventLog.sorted(
        user_idx=users.index(events["user_id"]),
        item_idx=item_idx,
        place_idx=np.zeros_like(item_idx),
        occurred_s=events["occurred_at"].cast(pa.int64()).to_numpy() // 1_000_000,
    )
    return log, catalog


def write_content_bundle(folder: Path, lake: Lake, seed: int = 0) -> Path:
    """Bundle of a model that was trained on the lake."""
    log, catalog = read_log(lake)
    training = TrainingConfig(
        max_epochs=1, n_rounds=2, batch_size=64, discovery_targets=0, seed=seed
    )
    model = ModelConfig(history_len=32, kernel_len=32)
    recommender = ChronotopeRecommender(model, training).fit(log, catalog)
    head = recommender.net.content_head
    assert head is not None
    head.cold_weights.copy_(torch.tensor([4.0, 1.0, 0.0]))  # few targets leave them at zero
    folder.mkdir(parents=True)
    export_onnx(recommender.net, count_priors(log, catalog), folder / MODEL)
    data_version = f"events@{lake.table_version('events')},items@{lake.table_version('items')}"
    about = {"name": "town", "dataset": "city", "data_version": data_version, "history_len": 32}
    write_bundle(folder, catalog, trained_until_s=int(log.occurred_s.max()), **about)
    return folder


class ContentTown:
    """A root with a lake and a champion that knows texts."""

    def __init__(self, root: Path) -> None:
        self.root, self.lake, self.version = root, Lake(Workspace(root).lake("city")), "1"
        self.data_dir = root / "files"

    @classmethod
    def build(cls, root: Path) -> "ContentTown":
        lake = fill_content_lake(root)
        (root / "files").mkdir()
        write_content_bundle(root / "versions" / "1", lake)
        return cls(root)

    def copy(self, root: Path) -> "ContentTown":
        shutil.copytree(self.root, root, dirs_exist_ok=True)
        return ContentTown(root)

    def load(self, root: Path, dataset: str) -> Champion:
        return self.load_version(root, dataset, self.version)

    def load_version(self, root: Path, dataset: str, version: str) -> Champion:
        folder = root / "versions" / version
        return Champion(version, open_bundle(folder), read_vocabulary(folder), folder)

    def app(self, **settings: Any) -> FastAPI:
        defaults = {
            "poll_s": 0.2,
            "content": ContentSource(content=CONTENT, data_dir=self.data_dir),
        }
        return create_app(
            ServeSettings(dataset="city", root=self.root, **{**defaults, **settings}),
            load=self.load,
            champion_version=lambda *_: self.version,
            load_arm=self.load_version,
        )
