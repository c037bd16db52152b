"""Benchmark of the encoders, on a few texts, images and sounds."""

import json
from pathlib import Path

import pandas as pd
import pytest
from onnx import TensorProto
from PIL import Image

from benchmarks.embed_items import drawn_texts, main, write_images
from chronotope.content.graphs.graph_builder import GraphBuilder

N_TEXTS, N_SOUNDS = 40, 3


@pytest.fixture(autouse=True)
def _same_threads_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def film_dir(tmp_path: Path) -> Path:
    film_dir = tmp_path / "movielens_100k"
    (film_dir / "posters").mkdir(parents=True)
    plots = ["A man walks home. It rains!", None, "A dog barks. A cat sleeps. They wait."]
    pd.DataFrame({"overview": plots}).to_parquet(film_dir / "items.parquet")
    Image.new("RGB", (92, 138), "red").save(film_dir / "posters" / "1.jpg")
    return film_dir


def test_the_second_run_encodes_nothing(tmp_path: Path) -> None:
    graph = GraphBuilder()
    graph.node("Reshape", "samples", graph.integers(1, -1, 4), output="frames")
    inputs = [("samples", TensorProto.FLOAT, [1, "n"])]
    ear = tmp_path / "ear.onnx"
    ear.write_bytes(graph.to_bytes(inputs, [("frames", TensorProto.FLOAT, [1, "T", 4])]))
    path = tmp_path / "rows.json"
    counts = ["--n-texts", str(N_TEXTS), "--n-sounds", str(N_SOUNDS)]
    options = ["--data", str(tmp_path), "--encoders", "tfidf", "--audio", str(ear)]
    main([*options, *counts, "--json", str(path)])
    text, sound = json.loads(path.read_text())
    assert (text["encoder"], text["n_encoded"], text["source"]) == ("tfidf", N_TEXTS, "made up")
    assert (sound["modality"], sound["n_encoded"]) == ("audio", N_SOUNDS)
    for row in (text, sound):
        assert row["second_n_encoded"] == row["n_missing"] == 0
        assert row["second_n_unchanged"] == row["n_items"]
        exact_s = row["n_encoded"] / row["items_per_s"]
        assert row["wall_s"] == pytest.approx(exact_s, abs=0.06)  # rounded to a tenth


def test_texts_are_drawn_from_the_sentences_of_plots(film_dir: Path) -> None:
    texts, source = drawn_texts(50, film_dir, seed=1)
    assert source == "plots of MovieLens-100K"
    assert {text.count(".") + text.count("!") for text in texts} == {2, 3}
    assert any("rains" in text and "barks" in text for text in texts)
    assert drawn_texts(50, film_dir, seed=1)[0] == texts != drawn_texts(50, film_dir, seed=2)[0]


def test_images_come_from_posters_or_are_drawn(film_dir: Path, tmp_path: Path) -> None:
    assert write_images(3, film_dir, tmp_path / "drawn", seed=0) == "posters of MovieLens-100K"
    assert write_images(2, tmp_path / "none", tmp_path / "noise", seed=0) == "made up"
    with Image.open(tmp_path / "drawn" / "2.jpg") as poster:
        assert (poster.size, poster.getpixel((250, 375))) == ((500, 750), (254, 0, 0))
    noise = [(tmp_path / "noise" / f"{position}.jpg").read_bytes() for position in range(2)]
    assert noise[0] != noise[1]


def test_encoders_and_counts_that_do_not_exist_are_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for options in (["--encoders", "bert"], ["--n-texts", "0"]):
        with pytest.raises(SystemExit):
            main(options)
    problems = capsys.readouterr().err
    assert "unknown ['bert']" in problems
    assert "must be 1 or more, received 0" in problems
