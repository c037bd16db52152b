"""Texts of the cards name groups, energy and data as they were measured."""

import numpy as np

from chronotope.pipelines.responsibility.card_text import energy_text, group_text
from chronotope.pipelines.responsibility.data_facts import log_facts
from chronotope.runtime.step_cache import StepCost
from chronotope.testing.recommender_suite import sample_log


def test_groups_with_few_targets_are_left_out() -> None:
    metrics = {"n_return": 120.0, "return_acc_10": 0.5, "n_discovery": 0.0}
    metrics |= {"n_cold_item": 19.0, "cold_item_acc_10": 0.0}
    text = group_text(metrics)
    assert text.startswith("Acc@10 (targets): items the user had before 0.500 (120). ")


def test_energy_is_an_estimate_by_time() -> None:
    costs = {"train": StepCost(seconds=3000, peak_mb=1), "export": StepCost(seconds=600, peak_mb=1)}
    assert energy_text(costs).startswith("The steps took 3,600 s. At 65 W, an assumption")
    assert energy_text(costs).endswith("65.0 Wh.")
    assert energy_text({}) == ""


def test_facts_of_a_log() -> None:
    log = sample_log()
    facts = log_facts(log)
    counts = np.bincount(log.user_idx)
    assert facts["Events"] == f"{len(log):,}"
    assert f"at most {counts.max():,}" in facts["Events of a user"]
    assert facts["First event"] <= facts["Last event"]
