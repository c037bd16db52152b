"""The compression benchmark counts honestly and keeps the rows of other datasets."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import compression
from chronotope.training.recommender import ChronotopeRecommender
from tests.compression.test_distill import PRIORS, teacher


def test_the_eager_size_is_every_tensor_it_needs_to_answer() -> None:
    model = ChronotopeRecommender()
    model._net, model._priors = teacher(), PRIORS
    state = sum(t.numel() * t.element_size() for t in teacher().state_dict().values())
    priors = sum(t.numel() * t.element_size() for t in PRIORS)
    assert compression.tensors_mb(model) == pytest.approx((state + priors) / 1e6)
    assert PRIORS.next_item.dtype == torch.int64


def test_one_dataset_replaces_its_own_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def measured(dataset: str, settings: Any) -> dict[str, Any]:
        asked.append((settings.compression.n_trials, settings.model.history_len))
        index = settings.compression.index_above_items == 0
        return {"dataset": dataset, "index": index, "n": len(asked)}

    monkeypatch.setattr(compression, "measured", measured)
    path = tmp_path / "rows.json"
    for name, trials in (("a", 0), ("b", 40), ("a", 50)):
        words = ["--dataset", name, "--trials", str(trials), "--history", "64"]
        compression.main([*words, "--json", str(path)])
    assert asked == [(0, 64), (40, 64), (50, 64)]
    compression.main(["--dataset", "b", "--index", "--json", str(path)])
    rows = [tuple(row.values()) for row in json.loads(path.read_text())]
    assert rows == [("b", False, 2), ("a", False, 3), ("b", True, 4)]
