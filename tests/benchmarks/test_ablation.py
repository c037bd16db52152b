"""A part that is off neither learns nor speaks, and its rows say what that costs."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.ablation import __main__ as ablation
from benchmarks.ablation import page
from benchmarks.ablation.parts import (
    FULL,
    KERNEL_GROUPS,
    PARTS,
    PRIOR_GROUPS,
    PRIORS_START,
    REQUEST_TIMES,
    gate_out,
)
from benchmarks.next_place import Stream
from chronotope.contracts.queries import queries_at
from chronotope.models import query_context
from chronotope.models.batch import to_batch
from chronotope.models.config import ModelConfig
from chronotope.models.kernels import KERNELS
from chronotope.models.network import ChronotopeNet
from chronotope.models.prior_scores import PRIOR_NAMES
from chronotope.models.priors import count_priors
from chronotope.models.query_context import N_CONTEXT
from chronotope.models.repeat_features import N_RETURN_FEATURES
from chronotope.testing.recommender_suite import sample_catalog, sample_log
from chronotope.training import lightning_module

TINY = ModelConfig(history_len=16, kernel_len=8)
SETTINGS = ablation.Settings(epochs=1, every=2, model=TINY)
OUTSIDE = [FULL, REQUEST_TIMES, "side_losses"]
"""Parts that are off without a change to what the network says of items."""


def scrambled(net: ChronotopeNet) -> ChronotopeNet:
    """The same network with other parameters, so that no part is at rest."""
    torch.manual_seed(1)
    for parameter in net.parameters():
        parameter.data = 0.3 * torch.randn_like(parameter)
    return net.eval()


def scores(net: ChronotopeNet) -> np.ndarray:
    log, catalog = sample_log(), sample_catalog()
    at = np.arange(350, 400)
    batch = to_batch(queries_at(log, at, history_len=16, time_given=True), 16)
    with torch.no_grad():
        return net(batch, count_priors(log, catalog)).item_scores[:, 1:].numpy()


def built(part: str) -> ChronotopeNet:
    return scrambled(PARTS[part].build(TINY, sample_catalog()))


@pytest.mark.parametrize("part", [part for part in PARTS if part not in OUTSIDE])
def test_the_model_says_something_else_without_a_part(part: str) -> None:
    whole = scores(built(FULL))
    with PARTS[part].off():
        assert not np.allclose(scores(built(part)), whole)


@pytest.mark.parametrize("part", [*KERNEL_GROUPS, *PRIOR_GROUPS])
def test_the_weights_of_what_is_off_do_not_matter(part: str) -> None:
    net = built(part)
    before = scores(net)
    kernels = [KERNELS.index(name) for name in KERNEL_GROUPS.get(part, ())]
    priors = [PRIORS_START + PRIOR_NAMES.index(name) for name in PRIOR_GROUPS.get(part, ())]
    gate_out(net).bias.data[kernels + priors] += 5.0
    net.repeat_head.mix_kernels.weight.data[:, kernels] += 5.0
    np.testing.assert_array_equal(scores(net), before)


def test_the_weights_of_the_return_features_do_not_matter_without_them() -> None:
    net = built("return_features")
    before = scores(net)
    net.repeat_head.mix_features.weight.data[:, -N_RETURN_FEATURES:] += 5.0
    np.testing.assert_array_equal(scores(net), before)


def test_the_weights_of_what_is_on_do_matter() -> None:
    net = built("decays")
    before = scores(net)
    gate_out(net).bias.data[KERNELS.index("hour")] += 5.0
    assert not np.allclose(scores(net), before)


def test_every_kernel_and_every_prior_is_in_one_group() -> None:
    kernels = [name for group in KERNEL_GROUPS.values() for name in group]
    priors = [name for group in PRIOR_GROUPS.values() for name in group]
    assert sorted(kernels) == sorted(KERNELS)
    assert sorted(priors) == sorted(PRIOR_NAMES)
    assert {*KERNEL_GROUPS, *PRIOR_GROUPS} < {*PARTS}


def test_without_context_every_query_is_weighed_alike() -> None:
    net = built("context")
    weights = net.gate(torch.randn(9, N_CONTEXT))
    assert torch.equal(weights, weights[:1].expand_as(weights))


def test_what_is_replaced_comes_back() -> None:
    before = (lightning_module.SIDE_WEIGHT, query_context._novelty)
    with PARTS["side_losses"].off(), PARTS["novelty"].off():
        assert lightning_module.SIDE_WEIGHT == 0.0
        assert not torch.stack(query_context._novelty(torch.ones(3, 4, dtype=torch.int64))).any()
    assert (lightning_module.SIDE_WEIGHT, query_context._novelty) == before


@pytest.fixture(scope="module")
def stream() -> Stream:
    log = sample_log()
    starts = tuple(np.quantile(log.occurred_s, [0.7, 0.85]).astype(int).tolist())
    targets = np.flatnonzero(log.occurred_s >= starts[0])
    return Stream(log, log.before(starts[0]), sample_catalog(), targets, starts)


@pytest.fixture(scope="module")
def rows(stream: Stream, tmp_path_factory: pytest.TempPathFactory) -> list[ablation.Row]:
    """The full model and two parts, measured in two runs."""
    work = tmp_path_factory.mktemp("ablation")
    for parts in (["hours"], [REQUEST_TIMES]):
        ablation.run(stream, SETTINGS, parts, work, work / "rows.json")
    return json.loads((work / "rows.json").read_text(encoding="utf-8"))


def test_rows_of_two_runs_stand_together(rows: list[ablation.Row]) -> None:
    found = [(row["time"], row["part"]) for row in rows]
    assert found == [(t, p) for t in ("given", "hidden") for p in (FULL, "hours", REQUEST_TIMES)]
    assert all(row["n_targets"] == 60 for row in rows)


def test_differences_are_paired_with_the_full_model(rows: list[ablation.Row]) -> None:
    full = {row["time"]: row for row in rows if row["part"] == FULL}
    for row in rows:
        expected = row["mrr"] - full[row["time"]]["mrr"]
        assert row["mrr_diff"] == pytest.approx(expected, abs=1e-12)
        assert row["mrr_low"] <= row["mrr_diff"] <= row["mrr_high"]
    assert {full[when]["mrr_high"] for when in full} == {0.0}


def test_request_times_matter_only_where_they_are_hidden(rows: list[ablation.Row]) -> None:
    off = {row["time"]: row["mrr_diff"] for row in rows if row["part"] == REQUEST_TIMES}
    assert off["given"] == 0.0
    assert off["hidden"] != 0.0


def test_a_newer_row_takes_the_place_of_the_older(rows: list[ablation.Row], tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    for row in [*rows, rows[0] | {"mrr": 0.5}, rows[0] | {"seed": 9}]:
        ablation.keep(row, path)
    kept = ablation.kept(path)
    assert len(kept) == len(rows) + 1
    assert [row["mrr"] for row in kept if row["part"] == FULL].count(0.5) == 1


def test_only_blocks_of_the_same_settings_are_filled(rows: list[ablation.Row]) -> None:
    blocks = [
        f"<!-- rows: time hidden, epochs {epochs}, every 2, seed 0 -->\nold\n<!-- end -->\n"
        for epochs in (1, 3)
    ]
    fresh, kept = page.filled("".join(blocks), rows).split("<!-- end -->\n")[:2]
    assert "`hours`" in fresh
    assert "old" not in fresh
    assert kept.endswith("old\n")


def test_an_unknown_part_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        ablation.main(["--data", "x", "--json", "y", "--parts", "gearbox"])
    assert "choose from" in capsys.readouterr().err
