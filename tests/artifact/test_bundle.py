"""A bundle answers as the network did, and notices when it was touched."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from torch.export import ExportedProgram

from chronotope.artifact.bundle import (
    CATALOG,
    CONTENT_AXES,
    MANIFEST,
    MODEL,
    bundle_checksum,
    read_content_axes,
    read_manifest,
    read_vocabulary,
    write_bundle,
)
from chronotope.artifact.onnx_recommender import (
    PROVIDERS,
    OnnxRecommender,
    execution_providers,
)
from chronotope.compression.export import export_onnx
from chronotope.contracts.errors import ArtifactError, ConfigError
from chronotope.contracts.queries import queries_at
from chronotope.models.config import BACKBONES, BackboneKind, ModelConfig
from chronotope.testing.recommender_suite import sample_catalog, sample_content, sample_log
from chronotope.training.config import TrainingConfig
from chronotope.training.recommender import ChronotopeRecommender
from tests.damage import flips

ABOUT = {
    "name": "chronotope",
    "dataset": "sample",
    "data_version": "3",
    "history_len": 16,
    "trained_until_s": 1_600_000_000,
}


def sealed(folder: Path) -> Path:
    (folder / MODEL).write_bytes(b"graph")
    write_bundle(folder, sample_catalog(), **ABOUT)
    return folder


def test_vocabulary_survives_the_round_trip(tmp_path: Path) -> None:
    words = read_vocabulary(sealed(tmp_path))
    assert words.items.index(["i03", "nowhere"]).tolist() == [4, 0]


def test_a_bundle_names_no_user(tmp_path: Path) -> None:
    folder, users = sealed(tmp_path), sample_catalog().users
    assert read_vocabulary(folder).users.size == 1  # the unknown one
    assert read_manifest(folder).n_users == users.size - 1
    texts = pq.read_table(folder / CATALOG)["id"].to_pylist()
    assert not set(texts) & set(users.ids.to_pylist())


def test_a_touched_file_is_refused(tmp_path: Path) -> None:
    (sealed(tmp_path) / MODEL).write_bytes(b"another graph")
    with pytest.raises(ArtifactError, match=r"differ.*model\.onnx"):
        read_manifest(tmp_path)


def test_the_axes_of_the_content_are_carried(tmp_path: Path) -> None:
    assert read_content_axes(sealed(tmp_path)) is None
    content = sample_content(sample_catalog())
    manifest = write_bundle(tmp_path, replace(sample_catalog(), content=content), **ABOUT)
    assert CONTENT_AXES in read_manifest(tmp_path).digests
    assert manifest.serving_digest == manifest.digests[MODEL]
    axes = read_content_axes(tmp_path)
    assert axes is not None
    assert axes.encoders == {"image": "lite@2", "text": "minilm@1"}
    new_item = {"text": np.ones((1, 6), np.float32)}
    np.testing.assert_array_equal(axes.project(new_item), content.axes.project(new_item))
    (tmp_path / CONTENT_AXES).write_bytes(b"other axes")
    with pytest.raises(ArtifactError, match=r"differ.*content_axes\.npz"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("name", [MODEL, CATALOG, MANIFEST])
def test_no_changed_byte_of_a_bundle_is_believed(tmp_path: Path, name: str) -> None:
    wanted = read_manifest(sealed(tmp_path))
    refused = 0
    for _ in flips(tmp_path / name, 100):
        try:
            found = read_manifest(tmp_path)
        except ArtifactError:
            refused += 1
        else:  # white space, or the case of an escape
            assert (name, found) == (MANIFEST, wanted)
    assert refused >= (5 if name == MODEL else 90)


def test_an_altered_manifest_is_refused(tmp_path: Path) -> None:
    path = sealed(tmp_path) / MANIFEST
    text = path.read_text()
    assert '"history_len": 16' in text
    path.write_text(text.replace('"history_len": 16', '"history_len": 61'))
    with pytest.raises(ArtifactError, match=r"manifest.*differs from its checksum.*Roll back"):
        read_manifest(tmp_path)


def test_the_checksum_of_a_bundle_covers_the_manifest(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "same", "other")]
    for folder in folders:
        folder.mkdir()
        sealed(folder)
    write_bundle(folders[2], sample_catalog(), **{**ABOUT, "data_version": "4"})
    one, same, other = map(bundle_checksum, folders)
    assert one == same != other


def test_a_missing_bundle_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="cannot be read"):
        read_manifest(tmp_path / "none")


def _refuse_decomposition(*_: object) -> None:
    raise AssertionError("the program was traced a second time")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kernels", "backbone"),
    [(True, "none"), (True, "lightgcn"), *((False, kind) for kind in BACKBONES if kind != "none")],
)
def test_the_graph_agrees_with_the_network(
    tmp_path: Path, kernels: bool, backbone: BackboneKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ExportedProgram, "run_decompositions", _refuse_decomposition)
    sizes = {"history_len": 16, "backbone_len": 4, "d_model": 8, "n_layers": 2}
    category_head = kernels and backbone == "lightgcn"
    config = ModelConfig(kernels=kernels, category_head=category_head, backbone=backbone, **sizes)
    training = TrainingConfig(max_epochs=1, n_rounds=2)
    model = ChronotopeRecommender(config, training).fit(sample_log(), sample_catalog())
    export_onnx(model.net, model.priors, tmp_path / MODEL)
    write_bundle(tmp_path, sample_catalog(), **ABOUT)
    queries = queries_at(sample_log(), np.arange(40, 60), history_len=None, time_given=True)
    answer, said = OnnxRecommender.load(tmp_path).answer(queries), model.outputs(queries)
    for found, expected in zip(
        (answer.item_scores, answer.when, answer.place_scores), said, strict=True
    ):
        np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-5)


def test_an_execution_provider_that_is_not_installed_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for value in ("", "CPUExecutionProvider", " CPUExecutionProvider "):
        monkeypatch.setenv(PROVIDERS, value)
        assert execution_providers() == ["CPUExecutionProvider"]
    monkeypatch.setenv(PROVIDERS, "NoSuchExecutionProvider,CPUExecutionProvider")
    with pytest.raises(ConfigError, match="NoSuchExecutionProvider") as refused:
        execution_providers()
    assert "CPUExecutionProvider" in str(refused.value)
