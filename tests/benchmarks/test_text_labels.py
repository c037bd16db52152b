"""Benchmark of labels from texts, on a few made-up venues."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import text_labels
from benchmarks.text_labels import LabelTask, foursquare_tasks, main, split_task
from chronotope.training.text.config import TextClassifierConfig

N_VENUES = 120


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    is_bar = rng.random(N_VENUES) < 0.5
    names = [
        f"{word} {idx}"
        for idx, word in enumerate(np.where(is_bar, "Beer Pub", "Book Shop").tolist())
    ]
    folder = tmp_path / "foursquare_nyc"
    folder.mkdir()
    venues = {
        "name": [None, *names[1:]],
        "category": np.where(is_bar, "Bar", "Store"),
        "description": [f"{name} is a venue located at 5 Rue {name}." for name in names],
    }
    pd.DataFrame(venues).to_parquet(folder / "pois.parquet")
    return tmp_path


def test_rows_of_all_models_stand_beside_the_baseline(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TextClassifierConfig(backbone="own", dim=16, n_layers=1, max_epochs=2)
    monkeypatch.setattr(
        text_labels,
        "MODELS",
        {**text_labels.MODELS, "own": ("own", text_labels.classifier(config))},
    )
    path = tmp_path / "rows.json"
    options = ["--data", str(data_dir), "--dataset", "foursquare_nyc", "--json", str(path)]
    main([*options, "--models", "own", "--task", "names"])
    baseline, own = json.loads(path.read_text())
    assert (baseline["model"], own["model"]) == (text_labels.BASELINE, "own")
    assert baseline["n_classes"] == 2
    assert baseline["macro_f1"] > 0.9
    assert own["gain"] == pytest.approx(own["macro_f1"] - baseline["macro_f1"])
    assert own["low"] <= own["macro_f1"] <= own["high"]


def test_the_text_of_names_does_not_hold_the_description(data_dir: Path) -> None:
    names, descriptions = foursquare_tasks(data_dir)
    assert len(names.texts) == N_VENUES - 1
    assert all("venue" not in text and "Rue" in text for text in names.texts)
    assert all("venue" in text for text in descriptions.texts)


def test_groups_are_not_divided_and_development_leaves_the_test_alone() -> None:
    groups = np.repeat(np.arange(100), 3).astype(object)
    texts = [str(position) for position in range(300)]
    task = LabelTask("t", texts, ["a", "b"] * 150, groups)
    final, development = (split_task(task, development=flag) for flag in (False, True))
    parts = [set(part[0]) for part in (final.train, final.validation, final.test)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 300
    of_groups = [{int(text) // 3 for text in part} for part in parts]
    assert not of_groups[0] & of_groups[2]
    seen = set(development.train[0] + development.validation[0] + development.test[0])
    assert not seen & parts[2]


def test_an_unknown_task_is_named(data_dir: Path) -> None:
    with pytest.raises(SystemExit):
        main(["--data", str(data_dir), "--dataset", "foursquare_nyc", "--task", "nothing"])
