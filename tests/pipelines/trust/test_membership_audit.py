"""A model that remembers its users is told from one that does not; held-out users stay out."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.contracts.ids import IdMap
from chronotope.contracts.queries import Queries
from chronotope.pipelines.settings import TrainSettings
from chronotope.pipelines.trust.config import AuditConfig
from chronotope.pipelines.trust.held_out_users import held_out_users, training_log
from chronotope.pipelines.trust.membership_audit import (
    LIKELIHOOD_RATIO,
    LOSS_THRESHOLD,
    AttackedUsers,
    audit_model,
    choose_attacked,
    fit_reference,
    target_losses,
)
from chronotope.pipelines.trust.results import TrustEvaluation, read_trust, write_trust
from chronotope.testing.recommender_suite import sample_catalog

N_USERS, N_ITEMS, N_EVENTS = 60, 15, 1_200
AUDIT = AuditConfig(held_out_share=0.4, targets_per_user=8)


def city() -> tuple[EventLog, Catalog]:
    """Users without habits: nothing but memory tells who was in the training."""
    rng = np.random.default_rng(5)
    users = IdMap.of([f"u{n:02d}" for n in range(N_USERS)])
    log = EventLog.sorted(
        user_idx=rng.integers(1, N_USERS + 1, N_EVENTS),
        item_idx=rng.integers(1, N_ITEMS + 1, N_EVENTS),
        occurred_s=1_600_000_000 + 3_600 * rng.permutation(N_EVENTS),
    )
    return log, replace(sample_catalog(), users=users)


class Memory:
    """Scores the next items of the events that it was fitted on higher, by an amount."""

    name, history_len = "memory", None

    def __init__(self, bonus: float, difficulty: float = 0.0) -> None:
        self.bonus, self.difficulty = bonus, difficulty
        self.true_items: dict[tuple[int, int], int] = {}

    def fit(self, log: EventLog, catalog: Catalog) -> "Memory":
        keys = zip(log.user_idx.tolist(), log.occurred_s.tolist(), strict=True)
        self.true_items = dict(zip(keys, log.item_idx.tolist(), strict=True))
        return self

    def observe(self, log: EventLog) -> None:
        pass

    def scores(self, queries: Queries) -> npt.NDArray[np.floating]:
        # a user's own difficulty is the same for every model of this class
        spread = np.sin(queries.user_idx)[:, None] * self.difficulty
        scores = np.tile(spread * np.linspace(-1, 1, N_ITEMS + 1), 1)
        keys = zip(queries.user_idx.tolist(), queries.request_s.tolist(), strict=True)
        for row, key in enumerate(keys):
            if key in self.true_items:
                scores[row, self.true_items[key]] += self.bonus
        return scores


def attacked_of(log: EventLog, catalog: Catalog) -> AttackedUsers:
    attacked = choose_attacked(log, held_out_users(catalog, AUDIT), AUDIT)
    assert attacked is not None
    return attacked


@pytest.mark.parametrize(("bonus", "low", "high"), [(0.0, 0.3, 0.7), (3.0, 0.98, 1.0)])
def test_memory_of_members_is_found_and_nothing_else(bonus: float, low: float, high: float) -> None:
    log, catalog = city()
    attacked = attacked_of(log, catalog)
    model = Memory(bonus).fit(log.take(~attacked.is_held_out[log.user_idx]), catalog)
    audit = audit_model(model, {LIKELIHOOD_RATIO: Memory(0.0)}, log, attacked)
    assert [attack.name for attack in audit.attacks] == [LOSS_THRESHOLD, LIKELIHOOD_RATIO]
    for attack in audit.attacks:
        assert low <= attack.auc <= high
        assert attack.low <= attack.auc <= attack.high


def test_a_reference_removes_what_is_difficult_for_everybody() -> None:
    log, catalog = city()
    attacked = attacked_of(log, catalog)
    trained = log.take(~attacked.is_held_out[log.user_idx])
    model = Memory(0.3, difficulty=6.0).fit(trained, catalog)
    audit = audit_model(model, {LIKELIHOOD_RATIO: Memory(0.0, difficulty=6.0)}, log, attacked)
    by_name = {attack.name: attack for attack in audit.attacks}
    assert by_name[LIKELIHOOD_RATIO].auc > by_name[LOSS_THRESHOLD].auc + 0.1
    assert audit.strongest is by_name[LIKELIHOOD_RATIO]


def test_losses_are_those_of_a_softmax_over_the_known_items() -> None:
    log, _ = city()
    targets = np.flatnonzero(log.basket_start() > log.user_start())[:7]
    assert target_losses(Memory(0.0), log, targets) == pytest.approx(np.log(N_ITEMS))


def test_held_out_users_stay_so_when_users_come_and_are_in_no_training() -> None:
    log, catalog = city()
    settings = TrainSettings.model_validate({"privacy": {"audit": AUDIT.model_dump()}})
    is_held_out = held_out_users(catalog, AUDIT)
    assert 0.2 < is_held_out[1:].mean() < 0.6
    assert not is_held_out[0]
    grown = replace(catalog, users=IdMap.of(["newcomer", *catalog.users.ids.to_pylist()]))
    before = dict(zip(catalog.users.ids.to_pylist(), is_held_out[1:], strict=True))
    after = dict(zip(grown.users.ids.to_pylist(), held_out_users(grown, AUDIT)[1:], strict=True))
    assert before.items() <= after.items()
    end_s = int(np.median(log.occurred_s))
    visible = training_log(log, catalog, settings, end_s)
    assert not is_held_out[visible.user_idx].any()
    assert visible.occurred_s.max() < end_s
    assert len(training_log(log, catalog, TrainSettings(), end_s)) == (log.occurred_s < end_s).sum()


def test_as_many_members_are_attacked_each_by_a_bounded_number_of_events() -> None:
    log, catalog = city()
    attacked = attacked_of(log, catalog)
    users, n_targets = np.unique(log.user_idx[attacked.targets], return_counts=True)
    assert n_targets.max() == AUDIT.targets_per_user
    assert attacked.is_member[users].sum() == attacked.is_held_out[users].sum() >= 10
    assert not (attacked.is_member & attacked.is_held_out).any()
    few = AuditConfig(held_out_share=0.01)
    assert choose_attacked(log, held_out_users(catalog, few), few) is None


def test_the_reference_does_not_depend_on_attacked_users() -> None:
    log, catalog = city()
    attacked = attacked_of(log, catalog)
    is_attacked = attacked.is_held_out | attacked.is_member
    item_idx = np.where(is_attacked[log.user_idx], 1, log.item_idx).astype(np.int32)
    changed = replace(log, item_idx=item_idx)
    popularity = fit_reference(log, catalog, attacked).priors.popularity
    assert popularity.equal(fit_reference(changed, catalog, attacked).priors.popularity)


def test_a_run_without_an_evaluation_has_an_empty_one(tmp_path: Path) -> None:
    assert read_trust(tmp_path) == TrustEvaluation()
    assert read_trust(tmp_path).metrics() == {}
    log, catalog = city()
    attacked = attacked_of(log, catalog)
    audit = audit_model(Memory(0.0), {}, log, attacked)
    write_trust(TrustEvaluation(membership=audit), tmp_path)
    assert read_trust(tmp_path).metrics() == {"membership_auc_loss_threshold": audit.attacks[0].auc}
