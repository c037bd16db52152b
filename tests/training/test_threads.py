"""Threads that share a batch compute what one thread computes."""

import numpy as np
import pytest
import torch

from chronotope.contracts.errors import ConfigError
from chronotope.models.config import ModelConfig
from chronotope.models.network import ChronotopeNet
from chronotope.testing.recommender_suite import sample_catalog, sample_log
from chronotope.training.config import TrainingConfig
from chronotope.training.lightning_module import NextEventModule
from chronotope.training.prequential import RoundBatches, TrainingBatch, make_rounds
from chronotope.training.recommender import ChronotopeRecommender
from chronotope.training.trainer import device_type

MODEL = ModelConfig(history_len=16)
TRAINING = TrainingConfig(max_epochs=2, n_rounds=2, batch_size=64)


def module_and_batch(n_threads: int) -> tuple[NextEventModule, TrainingBatch]:
    training = TRAINING.model_copy(update={"n_threads": n_threads})
    rounds, _ = make_rounds(sample_log(), sample_catalog(), training)
    batches = RoundBatches(sample_log(), rounds, training, model_config=MODEL, is_training=True)
    torch.manual_seed(0)
    net = ChronotopeNet(MODEL, sample_catalog())
    module = NextEventModule(net, training, n_steps=1)
    return module, next(iter(batches))


@pytest.mark.parametrize("n_threads", [2, 3])
def test_loss_and_gradients_are_those_of_one_thread(n_threads: int) -> None:
    losses, gradients = [], []
    for threads in (1, n_threads):
        module, batch = module_and_batch(threads)
        with module.threads():
            loss = module.training_step(batch, 0)
            torch.autograd.backward(loss)
        losses.append(loss.detach())
        gradients.append({n: p.grad for n, p in module.net.named_parameters()})
    torch.testing.assert_close(losses[1], losses[0])
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-4, atol=1e-6)


def test_training_with_threads_scores_as_training_with_one() -> None:
    log, catalog = sample_log(), sample_catalog()
    scores = [
        ChronotopeRecommender(MODEL, TRAINING.model_copy(update={"n_threads": n}))
        .fit(log, catalog)
        .net.state_dict()
        for n in (1, 2)
    ]
    for name, tensor in scores[0].items():
        np.testing.assert_allclose(scores[1][name], tensor, rtol=1e-3, atol=1e-4, err_msg=name)


def test_dropout_is_drawn_by_one_thread() -> None:
    training = TRAINING.model_copy(update={"n_threads": 2})
    model = MODEL.model_copy(update={"backbone": "gru", "d_model": 8})
    module = NextEventModule(ChronotopeNet(model, sample_catalog()), training, n_steps=1)
    with module.threads():
        assert module._threads is None


def fail_inside(module: NextEventModule) -> None:
    with module.threads():
        assert (torch.get_num_threads(), module._threads is None) == (1, False)
        raise RuntimeError("planted")


def test_a_training_that_fails_gives_its_threads_back() -> None:
    module, _ = module_and_batch(2)
    n_torch_threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(RuntimeError, match="planted"):
            fail_inside(module)
        assert (torch.get_num_threads(), module._threads) == (2, None)
    finally:
        torch.set_num_threads(n_torch_threads)


def test_cuda_without_a_device_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_type("auto", shared=False) == "cpu"
    with pytest.raises(ConfigError, match="no CUDA device"):
        device_type("cuda", shared=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device_type("auto", shared=False) == "cuda"
    assert device_type("auto", shared=True) == "cpu"


def test_a_batch_on_the_cpu_is_not_copied() -> None:
    module, batch = module_and_batch(1)
    assert module.transfer_batch_to_device(batch, torch.device("cpu"), 0) is batch


def test_the_priors_of_a_round_are_moved_once() -> None:
    module, batch = module_and_batch(1)
    first, second = (
        module.transfer_batch_to_device(batch, torch.device("meta"), 0) for _ in range(2)
    )
    assert first.target_item.device.type == "meta"
    assert first.priors.popularity is second.priors.popularity
