"""Fine-tuning of a trained network: one pass at a share of the learning rate."""

from contextlib import AbstractContextManager, nullcontext

from chronotope.models.network import ChronotopeNet
from chronotope.runtime.quick_imports import quick_imports
from chronotope.training.prequential import RoundBatches


def fine_tune(
    net: ChronotopeNet,
    batches: RoundBatches,
    *,
    rate_share: float = 0.1,
    progress: bool = False,
) -> ChronotopeNet:
    """Fine-tune a network in place: one pass at a share of the learning rate; returns it."""
    with quick_imports():  # of Lightning, which only a training needs
        from chronotope.training.lightning_module import NextEventModule
        from chronotope.training.trainer import make_trainer
    config = batches.config
    fine_tune_config = config.model_copy(
        update={"learning_rate": rate_share * config.learning_rate}
    )
    module = NextEventModule(net, fine_tune_config, n_steps=len(batches))
    trainer = make_trainer(
        [],
        1,
        accelerator=config.accelerator,
        progress=progress,
        limit_val_batches=0,
        enable_checkpointing=False,
    )
    net.train()
    with module.threads(), _discovery_head_paused(net):
        trainer.fit(module, batches, batches)
    net.eval()
    return net


def _discovery_head_paused(net: ChronotopeNet) -> AbstractContextManager[None]:
    """Context in which the other parts of a network are trained without the head."""
    return nullcontext() if net.discovery_head is None else net.discovery_head.paused()
