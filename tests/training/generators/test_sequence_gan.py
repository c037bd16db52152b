"""The adversarial generator: learns popularity, keeps to its seed, refuses large catalogues."""

from dataclasses import replace

import numpy as np
import pytest

from chronotope.contracts.errors import ConfigError
from chronotope.contracts.ids import IdMap
from chronotope.training.generators.sequence_gan import SequenceGan
from tests.training.generators.small_city import small_city


def test_generated_items_are_those_of_the_log_and_the_seed_decides() -> None:
    log, catalog = small_city()
    gan = SequenceGan.fit(log, catalog, n_epochs=1, n_adversarial=2)
    logs = [gan.generate(30, seed) for seed in (0, 0, 1)]
    assert np.array_equal(logs[0].item_idx, logs[1].item_idx)
    assert not np.array_equal(logs[0].item_idx[:50], logs[2].item_idx[:50])
    counts, real = (
        np.bincount(each.item_idx, minlength=catalog.n_items) for each in (logs[0], log)
    )
    assert counts[0] == 0
    assert np.corrcoef(counts, real)[0, 1] > 0.5
    assert np.array_equal(logs[0].place_idx, logs[0].item_idx)


def test_adversarial_steps_change_the_generator() -> None:
    log, catalog = small_city()
    plain, trained = (
        SequenceGan.fit(log, catalog, n_epochs=0, n_adversarial=n_steps) for n_steps in (0, 2)
    )
    weights = [gan.net.to_item.weight.detach().numpy() for gan in (plain, trained)]
    assert not np.allclose(*weights)


def test_a_large_catalogue_is_refused() -> None:
    log, catalog = small_city()
    many = IdMap.of([f"i{number:05d}" for number in range(20_001)])
    with pytest.raises(ConfigError, match="markov_renewal"):
        SequenceGan.fit(log, replace(catalog, items=many))
