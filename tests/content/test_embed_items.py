"""Vectors of the items of a lake: encoded once, never mixed, and no run fails by bad content."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from chronotope.content import embed_items
from chronotope.content.embed_items import embed_modality
from chronotope.content.encode_items import open_model_encoder
from chronotope.content.encoder import Modality, Vectors
from chronotope.content.encoders.packaged_weights import MissingWeights
from chronotope.content.item_vectors import read_vectors
from chronotope.content.modality_report import ModalityReport
from chronotope.contracts.errors import ArtifactError, ConfigError
from chronotope.datasets.content_spec import AttributeContent, ImageContent, TextContent
from chronotope.lake import Lake

TITLES = {
    "tea": "green tea from Japan",
    "rye": "rye bread, fresh",
    "bun": "fresh bread from Japan",
    "nil": None,
    "tag": "<br>\x00",
}


class ToyEncoder:
    """Encoder whose vectors say how it was called."""

    name, modality, dim = "toy", Modality.IMAGE, 2

    def __init__(self, digest: str = "a" * 64) -> None:
        self.digest = digest
        self.n_encoded = 0

    def encode(self, batch: Sequence[Any]) -> Vectors:
        self.n_encoded += len(batch)
        return np.array([[1.0, float(int(self.digest[0], 16))] for _ in batch], dtype=np.float32)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    shop = Lake(tmp_path / "lake")
    shop.upsert_items(pa.table({"item_id": list(TITLES), "title": list(TITLES.values())}))
    return shop


def embed_texts(lake: Lake, tmp_path: Path, **options: Any) -> ModalityReport:
    content = TextContent(columns=("title",))
    folders = {"data_dir": tmp_path, "cache_dir": tmp_path / "cache"}
    return embed_modality(Modality.TEXT, content, lake, **folders, **options)


def embed_images(
    lake: Lake, tmp_path: Path, path: str = "{item_id}.png", **bounds: Any
) -> ModalityReport:
    content = ImageContent(path=path, **bounds)
    folders = {"data_dir": tmp_path / "images", "cache_dir": tmp_path / "cache"}
    return embed_modality(Modality.IMAGE, content, lake, **folders)


def test_the_second_run_encodes_nothing(lake: Lake, tmp_path: Path) -> None:
    first = embed_texts(lake, tmp_path)
    assert (first.n_items, first.n_encoded, first.n_unchanged, first.n_missing) == (5, 3, 0, 2)
    assert first.reasons == {"text is empty": 2}
    assert set(first.examples["text is empty"]) == {"nil", "tag"}
    version = lake.version("item_embeddings")
    second = embed_texts(lake, tmp_path)
    assert (second.n_encoded, second.n_unchanged, second.n_missing) == (0, 3, 2)
    assert second.reasons == first.reasons
    assert second.encoder == first.encoder
    assert lake.version("item_embeddings") == version


def test_only_new_and_changed_items_are_encoded(lake: Lake, tmp_path: Path) -> None:
    embed_texts(lake, tmp_path)
    before = read_vectors(lake, Modality.TEXT, ["tea", "rye", "new"])
    lake.upsert_items(
        pa.table({"item_id": ["tea", "new"], "title": ["black tea from Japan", "fresh tea"]})
    )
    report = embed_texts(lake, tmp_path)
    assert (report.n_encoded, report.n_unchanged, report.n_missing) == (2, 2, 2)
    after = read_vectors(lake, Modality.TEXT, ["tea", "rye", "new"])
    assert before.is_present.tolist() == [True, True, False]
    assert after.is_present.all()
    np.testing.assert_array_equal(before.vectors[1], after.vectors[1])
    assert len(lake.read("item_embeddings")) == 6


def test_a_fitted_encoder_is_fitted_again_when_asked_or_when_the_catalogue_doubled(
    lake: Lake, tmp_path: Path
) -> None:
    first = embed_texts(lake, tmp_path)
    titles = {f"n{idx}": f"new thing {idx}" for idx in range(6)}
    lake.upsert_items(pa.table({"item_id": list(titles), "title": list(titles.values())}))
    grown = embed_texts(lake, tmp_path)
    assert grown.encoder != first.encoder
    assert (grown.n_encoded, grown.n_unchanged) == (9, 0)
    again = embed_texts(lake, tmp_path, refit=True)
    assert again.encoder == grown.encoder  # the same texts: the same encoder
    assert again.n_encoded == 0


def test_vectors_of_another_encoder_are_never_read(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "images").mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "images" / "tea.png")
    reports = []
    for digest in ("a" * 64, "b" * 64):
        monkeypatch.setattr(embed_items, "open_pretrained", lambda *_, d=digest: ToyEncoder(d))
        reports.append(embed_images(lake, tmp_path))
    old, new = reports
    assert old.n_encoded == new.n_encoded == 1
    assert old.encoder != new.encoder
    item_vectors = read_vectors(lake, Modality.IMAGE, ["tea"])
    assert item_vectors.encoder == new.encoder
    assert item_vectors.vectors.tolist() == [[1.0, 11.0]]
    assert len(set(lake.read("item_embeddings").column("encoder").to_pylist())) == 2


def test_bad_files_are_counted_with_their_reasons_and_nothing_else_is_lost(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image_dir = tmp_path / "images"
    image_dir.mkdir()
    Image.new("RGB", (64, 64)).save(image_dir / "tea.png")
    (image_dir / "rye.png").touch()
    (image_dir / "bun.png").write_bytes(b"no image")
    content = io.BytesIO()
    Image.new("1", (10_000, 10_000)).save(content, "PNG")
    (image_dir / "tag.png").write_bytes(content.getvalue())
    encoder = ToyEncoder()
    monkeypatch.setattr(embed_items, "open_pretrained", lambda *_: encoder)
    report = embed_images(lake, tmp_path)
    assert report.reasons == {
        "file is missing": 1,
        "file is empty": 1,
        "not an image of a known format": 1,
        "image larger than 40,000,000 pixels": 1,
    }
    assert (report.n_encoded, report.n_missing, encoder.n_encoded) == (1, 4, 1)
    again = embed_images(lake, tmp_path)
    assert (again.n_encoded, again.n_unchanged, again.reasons) == (0, 1, report.reasons)
    larger = embed_images(lake, tmp_path, max_pixels=200_000_000)
    assert "image larger than 40,000,000 pixels" not in larger.reasons
    Image.new("RGB", (64, 64)).save(image_dir / "rye.png")
    assert embed_images(lake, tmp_path).reasons["not an image of a known format"] == 1


@pytest.mark.parametrize("path", ["../{item_id}.png", "{title}/../../x.png", "/etc/{item_id}"])
def test_a_path_never_leaves_the_folder(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(embed_items, "open_pretrained", lambda *_: ToyEncoder())
    report = embed_images(lake, tmp_path, path)
    assert report.n_encoded == 0
    assert "path leads out of data_dir" in report.reasons


def test_a_vector_that_says_nothing_is_a_missing_one(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = ToyEncoder()
    (tmp_path / "images").mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "images" / "tea.png")
    monkeypatch.setattr(encoder, "encode", lambda batch: np.full((len(batch), 2), np.nan))
    monkeypatch.setattr(embed_items, "open_pretrained", lambda *_: encoder)
    report = embed_images(lake, tmp_path)
    assert report.reasons["nothing in it is known to the encoder"] == 1


def test_without_the_weights_the_modality_is_left_out_and_says_so(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raise_missing(*_: object) -> None:
        raise MissingWeights("The weights are not installed", way_out="Run: pip install x")

    monkeypatch.setattr(embed_items, "open_pretrained", raise_missing)
    report = embed_images(lake, tmp_path)
    assert "Run: pip install x" in report.skipped
    assert not lake.exists("item_embeddings")


def test_texts_that_share_no_word_and_a_lake_without_items_are_left_out(tmp_path: Path) -> None:
    empty = Lake(tmp_path / "empty")
    assert embed_texts(empty, tmp_path).skipped == "the lake has no items"
    empty.upsert_items(pa.table({"item_id": ["a", "b"]}))
    assert "share no words" in embed_texts(empty, tmp_path).skipped


def test_an_unknown_encoder_and_changed_weights_stop_the_run(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = TextContent(columns=("title",), encoder="word2vec")
    folders = {"data_dir": tmp_path, "cache_dir": tmp_path}
    with pytest.raises(ConfigError, match=r"Choose from \['tfidf', 'minilm'"):
        embed_modality(Modality.TEXT, content, lake, **folders)

    def raise_changed(*_: object) -> None:
        raise ArtifactError("The weights are not the expected ones")

    monkeypatch.setattr(embed_items, "open_pretrained", raise_changed)
    with pytest.raises(ArtifactError, match="not the expected ones"):
        embed_images(lake, tmp_path)


def test_items_that_left_the_catalogue_stay_and_are_not_read(lake: Lake, tmp_path: Path) -> None:
    embed_texts(lake, tmp_path)
    item_vectors = read_vectors(lake, Modality.TEXT, ["rye", "nil"])
    assert item_vectors.is_present.tolist() == [True, False]
    assert len(lake.read("item_embeddings")) == 5
    nothing = read_vectors(lake, Modality.AUDIO, ["rye"])
    assert (nothing.encoder, nothing.vectors.shape) == ("", (1, 0))


def test_attributes_are_encoded_and_refitted_when_their_columns_change(
    lake: Lake, tmp_path: Path
) -> None:
    kinds = {"tea": "drink|hot", "rye": "food", "bun": "food|sweet", "nil": None, "tag": "drink"}
    prices = [3.0, 2.0, 1.0, None, 3.0]
    lake.upsert_items(
        pa.table({"item_id": list(kinds), "kind": list(kinds.values()), "price": prices})
    )

    def embed(*columns: str) -> ModalityReport:
        content = AttributeContent(columns=columns, min_items=2)
        folders = {"data_dir": tmp_path, "cache_dir": tmp_path / "cache"}
        return embed_modality(Modality.ATTRIBUTES, content, lake, **folders)

    first = embed("kind", "price")
    assert (first.n_encoded, first.reasons) == (4, {"no attribute is given": 1})
    again = embed("kind", "price")
    assert (again.n_encoded, again.n_unchanged, again.encoder) == (0, 4, first.encoder)
    items = ["tea", "tag", "rye", "nil"]
    vectors = read_vectors(lake, Modality.ATTRIBUTES, items).vectors
    assert vectors[0] @ vectors[1] > 0.99 > 0.6 > vectors[0] @ vectors[2]
    assert not vectors[3].any()
    kept = AttributeContent(columns=("kind", "price"), min_items=2)
    folders = {"data_dir": tmp_path, "cache_dir": tmp_path / "cache"}
    of_model = open_model_encoder(first.encoder, Modality.ATTRIBUTES, kept, lake, **folders)
    encoded, reasons = of_model.encode([{"item_id": "x", "kind": "drink", "price": 3.0}, {}])
    np.testing.assert_array_equal(encoded[0], vectors[1])  # as a posted item is encoded
    assert reasons == [None, "no attribute is given"]
    kind_alone = embed("kind")
    assert kind_alone.encoder != first.encoder
    assert read_vectors(lake, Modality.ATTRIBUTES, items).vectors.shape[1] < vectors.shape[1]
    assert embed("price", "absent").n_encoded == 4
    assert "say nothing" in embed("absent").skipped
