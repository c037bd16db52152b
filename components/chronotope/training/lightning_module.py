"""Lightning module of the training."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import lightning
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from chronotope.contracts.protocols import Tracker
from chronotope.losses.objectives import lognormal_mixture_nll, next_item_loss
from chronotope.models.network import ChronotopeNet, NetworkOutput
from chronotope.models.priors import Priors
from chronotope.training.config import TrainingConfig
from chronotope.training.prequential import RoundBatches, TrainingBatch
from chronotope.training.threads import ShardThreads

SEED_STRIDE = 10_007
"""Distance of the dropout seeds of two training seeds: more than the epochs of a run."""

RANK_STRIDE = 1_000_000_007
"""Distance of the dropout seeds of two processes of one training."""

SIDE_WEIGHT = 0.2
"""Weight of the losses of time and place; that of the item loss is 1."""


class NextEventModule(lightning.LightningModule):
    """Softmax cross-entropy over items, mixture likelihood over time, places.

    The best epoch is that of the lowest ``later_loss``: the item loss on the last part of the
    log, the mean over hidden and given request times.
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
        self.validation_losses: list[Tensor] = []
        self._threads: ShardThreads | None = None
        self._moved_priors: tuple[Priors, Priors] | None = None

    @contextmanager
    def threads(self) -> Iterator[None]:
        """Threads of a training; they end with the block, also if the training fails."""
        n_torch_threads, n_threads = torch.get_num_threads(), self._n_threads()
        self._threads = ShardThreads(n_threads) if n_threads > 1 else None
        if self.net.config.backbone == "none":
            torch.set_num_threads(1)  # operations of the kernels are too small to be divided
        try:
            yield
        finally:
            torch.set_num_threads(n_torch_threads)
            if self._threads is not None:
                self._threads.close()
                self._threads = None

    def transfer_batch_to_device(
        self, batch: TrainingBatch, device: torch.device, dataloader_idx: int
    ) -> TrainingBatch:
        """Move a batch to an accelerator; the priors of a round are moved once."""
        if device.type == "cpu":
            return batch
        if self._moved_priors is None or self._moved_priors[0] is not batch.priors:
            moved_priors = Priors(*(table.to(device) for table in batch.priors))
            self._moved_priors = batch.priors, moved_priors
        moved: TrainingBatch = super().transfer_batch_to_device(
            batch._replace(priors=self._moved_priors[1]), device, dataloader_idx
        )
        return moved

    def on_train_epoch_start(self) -> None:
        """Seed batch order and dropout from the epoch, so that a resumed run is identical."""
        epoch_seed = SEED_STRIDE * self.config.seed + self.current_epoch
        torch.manual_seed(epoch_seed + RANK_STRIDE * self.global_rank)
        batches = self.trainer.train_dataloader
        if isinstance(batches, RoundBatches):
            batches.set_epoch(self.current_epoch)

    def training_step(self, training_batch: TrainingBatch, batch_idx: int) -> Tensor:  # noqa: ARG002
        """Loss of one batch."""
        return self._sum_shards(training_batch, lambda shard: self._loss(shard)[0])

    def validation_step(self, training_batch: TrainingBatch, batch_idx: int) -> None:  # noqa: ARG002
        """Collect the item loss of one validation batch."""
        self.validation_losses.append(
            self._sum_shards(training_batch, lambda shard: self._loss(shard)[1]["item"].detach())
        )

    def on_validation_epoch_end(self) -> None:
        """Log the mean validation loss and report it to the tracker."""
        loss = self.trainer.strategy.reduce(
            torch.stack(self.validation_losses).mean(), reduce_op="mean"
        )
        self.validation_losses.clear()
        self.log("later_loss", loss, prog_bar=True, sync_dist=True)
        if self.tracker is not None and not self.trainer.sanity_checking:
            self.tracker.metrics({"later_loss": float(loss)}, step=self.current_epoch)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW under a one-cycle learning rate, stepped every batch."""
        optimizer = torch.optim.AdamW(
            self.net.parameters(),
            lr=self.config.learning_rate,
            weight_decay=self.config.weight_decay,
            fused=True,
        )
        lr_schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self.config.learning_rate, total_steps=self.n_steps
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": lr_schedule, "interval": "step"},
        }

    def _n_threads(self) -> int:
        """Threads that share a batch: one where dropout draws, since their order is not fixed."""
        config = self.net.config
        draws = config.backbone != "none" and config.dropout > 0.0
        return 1 if draws else self.config.n_threads

    def _sum_shards(
        self, training_batch: TrainingBatch, shard_loss: Callable[[TrainingBatch], Tensor]
    ) -> Tensor:
        """Weighted loss of a batch, by as many threads as there are."""
        if self._threads is None or self.device.type != "cpu":
            return training_batch.weight * shard_loss(training_batch)
        n_threads = self._threads.n_threads
        shards = [training_batch.shard(rank, n_threads) for rank in range(n_threads)]
        return self._threads.sum_losses(
            [partial(_weighted_loss, shard_loss, shard, n_threads) for shard in shards],
            [parameter for parameter in self.net.parameters() if parameter.requires_grad],
        )

    def _loss(self, training_batch: TrainingBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Weighted sum of the losses of the heads, and each loss by name."""
        candidates = training_batch.candidates
        candidate_idx = None if candidates is None else candidates.item_idx
        outputs: NetworkOutput = self.net(
            training_batch.batch,
            training_batch.priors,
            candidate_idx,
            training_batch.packed_sequences,
            training_batch.gap_features,
        )
        item_loss = _item_loss(outputs.item_scores, training_batch)
        time_loss = lognormal_mixture_nll(outputs.when, training_batch.gap_h).mean()
        head_losses, total_loss = (
            {"item": item_loss, "time": time_loss},
            item_loss + SIDE_WEIGHT * time_loss,
        )
        if self.net.n_places > 1 and not self.net.places_are_items:
            head_losses["place"] = next_item_loss(outputs.place_scores, training_batch.target_place)
            total_loss = total_loss + SIDE_WEIGHT * head_losses["place"]
        return total_loss, head_losses


def _weighted_loss(
    shard_loss: Callable[[TrainingBatch], Tensor], shard: TrainingBatch, n_shards: int
) -> Tensor:
    """Part of one of n shards in the loss of its batch."""
    return shard_loss(shard) * (shard.weight / n_shards)


def _item_loss(item_scores: Tensor, training_batch: TrainingBatch) -> Tensor:
    """Softmax cross-entropy over the catalogue or over the batch's candidates."""
    candidates = training_batch.candidates
    if candidates is None:
        return next_item_loss(item_scores, training_batch.target_item)
    target_column = torch.zeros_like(training_batch.priors.popularity, dtype=torch.int64)
    target_column[candidates.item_idx] = torch.arange(
        len(candidates.item_idx), device=target_column.device
    )
    return next_item_loss(
        item_scores + candidates.log_weight, target_column[training_batch.target_item]
    )
