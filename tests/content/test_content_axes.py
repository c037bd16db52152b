"""Content of items in principal axes: what is projected, refused and stored."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chronotope.content.content_axes import MAX_AXES, ContentAxes, fit_axes, project_items
from chronotope.contracts.errors import ArtifactError, ConfigError

ENCODERS = {"text": "minilm@aa", "image": "lite@bb"}


def vectors(n_items: int = 30, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    content = {
        "text": rng.normal(size=(n_items, 7)).astype(np.float32),
        "image": rng.normal(size=(n_items, 5)).astype(np.float32),
    }
    content["image"][::3] = 0.0
    return content


def test_the_products_of_centred_vectors_stay() -> None:
    rows = vectors()["text"]
    content = project_items({"text": rows}, {"text": "minilm@aa"})
    centred = rows - rows.mean(0)
    expected = centred @ centred.T / (centred**2).sum(1).mean()
    np.testing.assert_allclose(content.vectors @ content.vectors.T, expected, atol=1e-4)
    assert (content.vectors**2).sum(1).mean() == pytest.approx(1.0, rel=1e-4)


def test_a_missing_modality_is_zero() -> None:
    content = project_items(vectors(), ENCODERS)
    assert content.axes.modalities == ("image", "text")
    assert content.axes.n_axes == (5, 7)
    image = content.vectors[:, :5]
    assert not image[::3].any()
    assert image[1::3].any(axis=1).all()
    only_text = content.axes.project({"text": vectors()["text"]}, ENCODERS)
    assert not only_text[:, :5].any()
    np.testing.assert_array_equal(only_text[:, 5:], content.vectors[:, 5:])


def test_a_wide_encoder_keeps_the_strongest_axes() -> None:
    rng = np.random.default_rng(0)
    rows = (rng.normal(size=(200, 3)) @ rng.normal(size=(3, 100))).astype(np.float32)
    content = project_items({"text": rows}, {"text": "wide@0"})
    assert content.axes.n_axes == (MAX_AXES,)
    assert (content.vectors**2).sum(0)[3:].sum() < 1e-4  # three dimensions hold everything


def test_vectors_of_another_encoder_are_refused() -> None:
    axes = fit_axes(vectors(), ENCODERS)
    with pytest.raises(ConfigError, match="text vectors are not those"):
        axes.project(vectors(), {"text": "minilm@ff", "image": "lite@bb"})
    with pytest.raises(ConfigError, match="7 numbers"):
        axes.project({"text": np.ones((2, 3), np.float32)})
    with pytest.raises(ConfigError, match="unknown encoder"):
        axes.project(vectors(), {"image": "lite@bb"})


def test_the_file_holds_axes_and_encoders_without_pickles(tmp_path: Path) -> None:
    axes = fit_axes(vectors(), ENCODERS)
    axes.save(tmp_path / "axes.npz")
    loaded = ContentAxes.load(tmp_path / "axes.npz")
    assert loaded.encoders == ENCODERS
    np.testing.assert_array_equal(loaded.project(vectors()), axes.project(vectors()))
    assert b"pickle" not in (tmp_path / "axes.npz").read_bytes()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04broken", b"no archive"])
def test_a_damaged_file_is_a_clear_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "axes.npz").write_bytes(content)
    with pytest.raises(ArtifactError, match="axes of the items' content"):
        ContentAxes.load(tmp_path / "axes.npz")


def test_fewer_than_two_items_have_no_axes() -> None:
    rows = np.zeros((5, 4), np.float32)
    rows[2] = 1.0
    assert fit_axes({"text": rows}, {"text": "a@0"}).parts == ()


@given(st.sets(st.sampled_from(["text", "image", "audio"])))
def test_selected_modalities_keep_their_columns(names: set[str]) -> None:
    content = project_items(vectors(), ENCODERS)
    selected = content.select(sorted(names))
    assert selected.vectors.shape[1] == selected.axes.width
    if names:
        assert selected.axes.modalities == tuple(sorted(names - {"audio"}))
        expected = selected.axes.project(vectors(), ENCODERS)
        if expected.size:
            np.testing.assert_array_equal(selected.vectors, expected)
    else:
        assert selected is content
