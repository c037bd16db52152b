"""A checkpoint is read as it was written, or not at all; the shipped one is the pinned one."""

from pathlib import Path

import pytest
import safetensors.torch
import torch

from chronotope.contracts.errors import ArtifactError
from chronotope.models.config import ModelConfig
from chronotope.models.network import ChronotopeNet
from chronotope.models.transfer import checkpoint as checkpoints
from chronotope.models.transfer.checkpoint import (
    PretrainedCheckpoint,
    read_checkpoint,
    shipped_checkpoint,
    shipped_path,
    transferable_state,
    write_checkpoint,
)
from chronotope.models.transfer.parameter_scope import LATER_INPUTS
from chronotope.testing.recommender_suite import sample_catalog
from chronotope.training.pretrained_start import load_parameters

CONFIG = ModelConfig(n_hidden=8, content=False)
CATEGORIES = "repeat_head.item_features.category_embedding.weight"


def network() -> ChronotopeNet:
    torch.manual_seed(0)
    return ChronotopeNet(CONFIG, sample_catalog())


def written(path: Path) -> Path:
    write_checkpoint(path, PretrainedCheckpoint(CONFIG, transferable_state(network()), "# Card"))
    return path


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    read, state = (
        read_checkpoint(written(tmp_path / "a.safetensors")),
        transferable_state(network()),
    )
    assert (read.model, read.card) == (CONFIG, "# Card")
    assert set(read.parameters) == set(state)
    assert all(torch.equal(read.parameters[name], state[name]) for name in state)


def test_it_holds_no_row_of_the_catalogue() -> None:
    net = network()
    state = transferable_state(net)
    assert not any(name.startswith(("item_tables.", "context_head.")) for name in state)
    rows = net.repeat_head.item_features.category_embedding.weight
    torch.testing.assert_close(state[CATEGORIES], rows[1:].mean(0))


@pytest.mark.parametrize("position", [-1, -400])
def test_a_changed_byte_is_noticed(tmp_path: Path, position: int) -> None:
    path = written(tmp_path / "a.safetensors")
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ArtifactError, match="differs from its digest"):
        read_checkpoint(path)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"\xff" * 64])
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match="cannot be used"):
        read_checkpoint(path)
    with pytest.raises(ArtifactError, match="cannot be used"):
        read_checkpoint(tmp_path / "missing.safetensors")


def changed(path: Path, **metadata: str) -> Path:
    with safetensors.safe_open(written(path), framework="pt") as opened:
        content = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        old = dict(opened.metadata())
    path.write_bytes(safetensors.torch.save(content, old | metadata))
    return path


@pytest.mark.parametrize(
    ("field", "problem"),
    [("version", "format version 9"), ("names", "not those of this release"), ("model", "model")],
)
def test_another_version_is_refused(tmp_path: Path, field: str, problem: str) -> None:
    with pytest.raises(ArtifactError, match=problem):
        read_checkpoint(changed(tmp_path / "a.safetensors", **{field: "9"}))


def test_a_number_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    state = transferable_state(network())
    state["gate.0.bias"] = torch.full_like(state["gate.0.bias"], float("nan"))
    path = tmp_path / "a.safetensors"
    write_checkpoint(path, PretrainedCheckpoint(CONFIG, state, ""))
    with pytest.raises(ArtifactError, match="not a finite number"):
        read_checkpoint(path)


def test_a_file_that_is_too_large_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "MAX_BYTES", 100)
    with pytest.raises(ArtifactError, match="at most 100"):
        read_checkpoint(written(tmp_path / "a.safetensors"))


def test_the_shipped_checkpoint_is_small_and_fits_the_default_network() -> None:
    checkpoint, path = shipped_checkpoint(), shipped_path()
    assert path.stat().st_size <= 1_000_000
    net = ChronotopeNet(ModelConfig(), sample_catalog())
    state = transferable_state(net)
    assert set(checkpoint.parameters) == set(state)
    for name, value in checkpoint.parameters.items():  # later inputs are completed by zeros
        assert value.shape == state[name].shape or name in LATER_INPUTS, name
    load_parameters(net, checkpoint)
    features = checkpoint.parameters[LATER_INPUTS[0]]
    loaded = net.repeat_head.mix_features.weight
    assert torch.equal(loaded[:, : features.shape[1]], features)
    assert not loaded[:, features.shape[1] :].any()
    assert checkpoint.card == path.with_suffix(".md").read_text(encoding="utf-8")
    assert "complete_journey | CC0-1.0" in checkpoint.card


def test_a_shipped_file_of_another_digest_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "SHIPPED_SHA256", "0" * 64)
    with pytest.raises(ArtifactError, match="expected 0000"):
        shipped_checkpoint()
