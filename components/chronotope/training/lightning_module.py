"""The one Lightning module that trains every network."""

import lightning
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from chronotope.contracts.protocols import Tracker
from chronotope.losses.objectives import lognormal_mixture_nll, next_item_loss
from chronotope.models.network import ChronotopeNet, NetworkOutput
from chronotope.training.config import TrainingConfig
from chronotope.training.prequential import RoundBatches, TrainingBatch

EPOCHS_APART = 10_007
"""Epochs after which one seed's dropout would meet the next one's."""

RANKS_APART = 1_000_000_007
"""Processes that train together draw their dropout apart."""

SIDE_WEIGHT = 0.2
"""Weight of *when* and *where* beside *what*."""


class NextEventModule(lightning.LightningModule):
    """Softmax cross-entropy over items, mixture likelihood over time, places.

    The epoch is chosen by ``later_loss``: the loss on the last stretch of time, the
    mean over hidden and given request times.
    """

    def __init__(
        self,
        net: ChronotopeNet,
        config: TrainingConfig,
        *,
        n_steps: int,
        tracker: Tracker | None = None,
    ) -> None:
        """Wrap a network; ``n_steps`` is the length of the learning-rate cycle."""
        super().__init__()
        self.net, self.config, self.n_steps, self.tracker = net, config, n_steps, tracker
        self.later: list[Tensor] = []

    def on_train_epoch_start(self) -> None:
        """Order the batches and seed dropout by the epoch, the same when it is resumed."""
        seed = EPOCHS_APART * self.config.seed + self.current_epoch
        torch.manual_seed(seed + RANKS_APART * self.global_rank)
        batches = self.trainer.train_dataloader
        if isinstance(batches, RoundBatches):
            batches.set_epoch(self.current_epoch)

    def training_step(self, example: TrainingBatch, batch_idx: int) -> Tensor:  # noqa: ARG002
        """Loss of one batch."""
        return example.weight * self._loss(example)[0]

    def validation_step(self, example: TrainingBatch, batch_idx: int) -> None:  # noqa: ARG002
        """Collect the loss of *what* on later time."""
        self.later.append(example.weight * self._loss(example)[1]["what"].detach())

    def on_validation_epoch_end(self) -> None:
        """Log the mean later loss and report it to the tracker."""
        loss = self.trainer.strategy.reduce(torch.stack(self.later).mean(), reduce_op="mean")
        self.later.clear()
        self.log("later_loss", loss, prog_bar=True, sync_dist=True)
        if self.tracker is not None and not self.trainer.sanity_checking:
            self.tracker.metrics({"later_loss": float(loss)}, step=self.current_epoch)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW under a one-cycle learning rate, stepped every batch."""
        optimizer = torch.optim.AdamW(
            self.net.parameters(),
            lr=self.config.learning_rate,
            weight_decay=self.config.weight_decay,
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self.config.learning_rate, total_steps=self.n_steps
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def _loss(self, example: TrainingBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Weighted sum of the heads' losses, and each by name."""
        candidates = example.candidates
        chosen = None if candidates is None else candidates.item_idx
        outputs: NetworkOutput = self.net(example.batch, example.priors, chosen, example.stretches)
        what = _what_loss(outputs.item_scores, example)
        when = lognormal_mixture_nll(outputs.when, example.hours).mean()
        parts, total = {"what": what, "when": when}, what + SIDE_WEIGHT * when
        if self.net.n_places > 1 and not self.net.places_are_items:
            parts["where"] = next_item_loss(outputs.place_scores, example.place)
            total = total + SIDE_WEIGHT * parts["where"]
        return total, parts


def _what_loss(item_scores: Tensor, example: TrainingBatch) -> Tensor:
    """Softmax cross-entropy over the catalogue or over the batch's candidates."""
    candidates = example.candidates
    if candidates is None:
        return next_item_loss(item_scores, example.item)
    column = torch.zeros(len(example.priors.popularity), dtype=torch.int64)
    column[candidates.item_idx] = torch.arange(len(candidates.item_idx))
    return next_item_loss(item_scores + candidates.log_weight, column[example.item])
