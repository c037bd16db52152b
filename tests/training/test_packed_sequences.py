"""Histories laid out once say what each of them says apart."""

import numpy as np
import pytest
import torch

from chronotope.contracts.queries import queries_at
from chronotope.models.backbones.backbone import Backbone
from chronotope.models.batch import to_batch
from chronotope.models.config import BACKBONES, BackboneKind, ModelConfig
from chronotope.models.item_tables import ItemTables
from chronotope.models.priors import count_priors
from chronotope.testing.recommender_suite import sample_catalog, sample_log
from chronotope.training.packed_sequences import pack_sequences

LOG, CATALOG = sample_log(), sample_catalog()
STARTS = (LOG.user_start(), LOG.basket_start())
POSITIONS = np.flatnonzero(STARTS[1] > STARTS[0])
"""Every event with a past."""


@pytest.mark.parametrize("kind", [kind for kind in BACKBONES if kind != "none"])
def test_a_stretch_says_what_each_history_says_apart(kind: BackboneKind) -> None:
    longest = int((STARTS[1] - STARTS[0])[POSITIONS].max())
    torch.manual_seed(1)
    config = ModelConfig(backbone=kind, backbone_len=longest, d_model=8, n_layers=2)
    model = Backbone(config, ItemTables(CATALOG))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    batch = to_batch(
        queries_at(LOG, POSITIONS, history_len=longest, time_given=True, start_positions=STARTS),
        longest,
    )
    packed = pack_sequences(LOG, *(s[POSITIONS] for s in STARTS), window_len=longest)
    assert len(packed.item_idx) < len(POSITIONS) / 4
    asked = (batch, ItemTables(CATALOG), count_priors(LOG, CATALOG), None)
    with torch.no_grad():
        apart, together = model.eval()(*asked), model(*asked, packed)
    torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("length", [1, 3, 8])
def test_each_query_has_its_latest_events_before_it_and_no_row_is_wide(length: int) -> None:
    asked = np.random.default_rng(0).permutation(POSITIONS)[:200]
    first, end = (start[asked] for start in STARTS)
    packed = pack_sequences(LOG, first, end, window_len=length)
    assert packed.item_idx.shape[1] < 2 * length + 1
    padded = torch.nn.functional.pad(packed.item_idx, (length, 0))
    for query, row in enumerate(packed.row):
        to = int(packed.column[query]) + 1
        found = padded[row, to : to + length].numpy()
        expected = LOG.item_idx[max(first[query], end[query] - length) : end[query]]
        np.testing.assert_array_equal(found[len(found) - len(expected) :], expected)
