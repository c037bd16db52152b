"""A student comes nearer to its teacher, and draws times as the mixture says."""

import math

import numpy as np
import pytest
import torch

from chronotope.compression.distill import (
    DistilConfig,
    distil,
    draw_hours,
    latest_events,
    make_student,
)
from chronotope.contracts.errors import NotEnoughData
from chronotope.contracts.queries import queries_at
from chronotope.models.batch import to_batch
from chronotope.models.config import ModelConfig
from chronotope.models.network import ChronotopeNet
from chronotope.models.priors import count_priors
from chronotope.testing.recommender_suite import sample_catalog, sample_log

PRIORS = count_priors(sample_log(), sample_catalog())
QUERIES = queries_at(sample_log(), np.arange(40, 140), history_len=16, time_given=True)
BATCH = to_batch(QUERIES, 16)


def teacher() -> ChronotopeNet:
    torch.manual_seed(3)
    net = ChronotopeNet(ModelConfig(history_len=16), sample_catalog())
    with torch.no_grad():
        net.get_parameter("gate.2.weight").normal_(std=0.5)
    return net.eval()


def distance(net: ChronotopeNet, student: ChronotopeNet) -> float:
    with torch.no_grad():
        said = net(BATCH, PRIORS).item_scores[:, 1:].softmax(1)
        heard = student(latest_events(BATCH, 8), PRIORS).item_scores[:, 1:].softmax(1)
    return float((said - heard).abs().sum(1).mean())


def test_a_student_comes_nearer_to_its_teacher() -> None:
    net = teacher()
    student = ChronotopeNet(ModelConfig(history_len=8, n_hidden=6), sample_catalog())
    before = distance(net, student)
    config = DistilConfig(n_epochs=60, learning_rate=1e-2)
    distil(net, student, [(BATCH, PRIORS)], config)
    assert distance(net, student) < 0.5 * before
    assert not student.training


def test_a_student_is_smaller_and_starts_with_what_fits() -> None:
    net = teacher()
    student = make_student(net, sample_catalog(), history_len=999, n_hidden=6)
    assert (student.config.history_len, student.config.n_hidden) == (16, 6)
    assert student.backbone is None
    assert torch.equal(*(n.get_parameter("gate.2.weight") for n in (student, net)))


def test_drawn_hours_follow_the_mixture() -> None:
    one = torch.tensor([[math.log(0.25), math.log(0.75)], [0.0, 2.0], [-9.0, -9.0]])
    hours = draw_hours(one.expand(4000, 3, 2), torch.Generator().manual_seed(0))
    late = (hours > 2.0).float()
    assert abs(float(late.mean()) - 0.75) < 0.03
    assert abs(float(hours[late == 1].log().mean()) - 2.0) < 0.01


def test_no_examples_is_a_clear_error() -> None:
    with pytest.raises(NotEnoughData, match="at least one batch"):
        distil(teacher(), teacher(), [])
