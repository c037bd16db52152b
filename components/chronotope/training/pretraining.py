"""Pretraining: one network over several logs, whose transferable parameters are shared.

Each log has a network of its own over its catalogue; all of them hold the same transferable
parameters. A batch is of one log, and the batches of all logs are mixed. The loss of a log's batch
is multiplied by

    w_l = (mean batches of a log / batches of log l)^balance

so that with balance 1 all logs weigh the same, and with 0 all batches do.
"""

import tempfile
from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Self

import lightning
import numpy as np
import torch
from torch import Tensor, nn

from chronotope.contracts.errors import ConfigError
from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.contracts.protocols import Tracker
from chronotope.models.config import ModelConfig
from chronotope.models.network import ChronotopeNet
from chronotope.models.transfer.checkpoint import PretrainedCheckpoint, transferable_state
from chronotope.models.transfer.parameter_scope import is_transferable
from chronotope.runtime.garbage import collect_afterwards
from chronotope.training.config import TrainingConfig
from chronotope.training.lightning_module import NextEventModule
from chronotope.training.prequential import (
    RoundBatches,
    TrainingBatch,
    make_rounds,
    validation_sample,
)
from chronotope.training.trainer import TrainingJob


class PretrainingLog(NamedTuple):
    """A log to pretrain on.

    Attributes:
        log: Its events.
        catalog: Its catalogue; content vectors are not read.
    """

    log: EventLog
    catalog: Catalog


class LogBatch(NamedTuple):
    """Training batch of one of several logs."""

    log_idx: int
    batch: TrainingBatch


class MixedBatches:
    """Batches of several logs; each is of one log, in random order in training."""

    def __init__(self, batches_by_log: list[RoundBatches], balance: float) -> None:
        """Store references; batches are built during iteration.

        Args:
            batches_by_log: Batches of each log.
            balance: Exponent of the weights, 0 to 1.
        """
        self.batches_by_log = batches_by_log
        n_batches = np.array([len(batches) for batches in batches_by_log], dtype=np.float64)
        self.weights = (n_batches.mean() / n_batches) ** balance
        self.epoch = 0

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        return sum(len(batches) for batches in self.batches_by_log)

    def shard(self, rank: int, n: int) -> Self:
        """The same batches, each reduced to the shard of one of n processes."""
        sharded = copy(self)
        sharded.batches_by_log = [batches.shard(rank, n) for batches in self.batches_by_log]
        return sharded

    def for_helpers(self) -> Self:
        """The same batches, without the events that none of them needs."""
        reduced = copy(self)
        reduced.batches_by_log = [batches.for_helpers() for batches in self.batches_by_log]
        return reduced

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch that seeds the order of the next pass."""
        self.epoch = epoch
        for batches in self.batches_by_log:
            batches.set_epoch(epoch)

    def __iter__(self) -> Iterator[LogBatch]:
        """Yield the batches of one epoch."""
        log_order = np.repeat(
            np.arange(len(self.batches_by_log)), [len(batches) for batches in self.batches_by_log]
        )
        first = self.batches_by_log[0]
        if first.is_training:
            np.random.default_rng((first.config.seed, self.epoch)).shuffle(log_order)
        streams = [iter(batches) for batches in self.batches_by_log]
        for log_idx in log_order.tolist():
            batch = next(streams[log_idx])
            yield LogBatch(
                log_idx, batch._replace(weight=batch.weight * float(self.weights[log_idx]))
            )


class PretrainingModule(NextEventModule):
    """Losses of several networks that share parameters; the mean over logs chooses the epoch."""

    def __init__(
        self,
        nets: list[ChronotopeNet],
        config: TrainingConfig,
        *,
        n_steps: int,
        tracker: Tracker | None = None,
    ) -> None:
        """Wrap the networks of the logs; ``n_steps`` is the length of the learning-rate cycle."""
        super().__init__(nets[0], config, n_steps=n_steps, tracker=tracker)
        self.module_by_log = nn.ModuleList(
            NextEventModule(net, config, n_steps=n_steps) for net in nets
        )

    def transfer_batch_to_device(  # type: ignore[override]
        self, batch: Any, device: torch.device, dataloader_idx: int
    ) -> LogBatch:
        """Move a batch to an accelerator; the priors of a round are moved once."""
        module = self._module_of(batch)
        return LogBatch(
            batch.log_idx, module.transfer_batch_to_device(batch.batch, device, dataloader_idx)
        )

    def on_train_epoch_start(self) -> None:
        """Seed batch order from the epoch, so that a resumed run is identical."""
        super().on_train_epoch_start()
        batches = self.trainer.train_dataloader
        if isinstance(batches, MixedBatches):
            batches.set_epoch(self.current_epoch)

    def training_step(self, training_batch: Any, batch_idx: int) -> Tensor:
        """Loss of one batch."""
        return self._module_of(training_batch).training_step(training_batch.batch, batch_idx)

    def validation_step(self, training_batch: Any, batch_idx: int) -> None:
        """Collect the item loss of one validation batch, of all logs alike."""
        module = self._module_of(training_batch)
        module.validation_step(training_batch.batch._replace(weight=1.0), batch_idx)

    def on_validation_epoch_end(self) -> None:
        """Log the mean over the logs of their validation losses."""
        for module in self._modules_of_logs():
            self.validation_losses.append(torch.stack(module.validation_losses).mean())
            module.validation_losses.clear()
        super().on_validation_epoch_end()

    def configure_optimizers(self) -> Any:
        """AdamW over the parameters of all networks."""
        optimizer = torch.optim.AdamW(
            self.module_by_log.parameters(),
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

    def _module_of(self, log_batch: LogBatch) -> NextEventModule:
        return self._modules_of_logs()[log_batch.log_idx]

    def _modules_of_logs(self) -> list[NextEventModule]:
        return [module for module in self.module_by_log if isinstance(module, NextEventModule)]


def pretrain(
    logs: Mapping[str, PretrainingLog],
    model: ModelConfig,
    training: TrainingConfig,
    *,
    balance: float = 0.5,
    checkpoint_dir: Path | None = None,
    tracker: Tracker | None = None,
    progress: bool = False,
) -> PretrainedCheckpoint:
    """Train one network over several logs; a killed training resumes its last epoch.

    Args:
        logs: The logs by name; the last part of each one's time chooses the epoch.
        model: Configuration of the network; it reads neither content nor context columns.
        training: Epochs, batch size and learning rate; ``max_targets`` holds for each log.
        balance: Exponent of the weights of the logs, 0 (by batches) to 1 (all alike).
        checkpoint_dir: Directory of the checkpoints; None uses a temporary directory.
        tracker: Receiver of the losses.
        progress: Show a progress bar.

    Returns:
        The transferable parameters, without a card.

    Raises:
        ConfigError: There is no log, or the network would read columns of one log.
        NotEnoughData: A log is too short.
    """
    if not logs or model.context:
        raise ConfigError(
            "Pretraining needs a log, and a network without context columns",
            received=f"{len(logs)} logs, context: {', '.join(model.context) or 'none'}",
            way_out="Name at least one dataset and remove model.context",
        )
    model = model.model_copy(update={"content": False})
    with collect_afterwards(), tempfile.TemporaryDirectory() as temp_dir:
        return _pretrain(
            logs, model, training, balance, checkpoint_dir or Path(temp_dir), tracker, progress
        )


def _pretrain(
    logs: Mapping[str, PretrainingLog],
    model: ModelConfig,
    training: TrainingConfig,
    balance: float,
    checkpoint_dir: Path,
    tracker: Tracker | None,
    progress: bool,
) -> PretrainedCheckpoint:
    lightning.seed_everything(training.seed, workers=False, verbose=False)
    nets = [
        ChronotopeNet(model, replace(pretraining_log.catalog, content=None))
        for pretraining_log in logs.values()
    ]
    for net in nets[1:]:
        share_parameters(net, nets[0])
    rounds_by_log = [make_rounds(*pretraining_log, training) for pretraining_log in logs.values()]

    def mixed(*, is_training: bool) -> MixedBatches:
        batches_by_log = [
            RoundBatches(
                pretraining_log.log,
                train_rounds if is_training else validation_sample(valid_rounds, training),
                training,
                model_config=model,
                is_training=is_training,
            )
            for pretraining_log, (train_rounds, valid_rounds) in zip(
                logs.values(), rounds_by_log, strict=True
            )
        ]
        return MixedBatches(batches_by_log, balance)

    train_batches, valid_batches = mixed(is_training=True), mixed(is_training=False)
    n_steps = training.max_epochs * len(train_batches)
    module = PretrainingModule(nets, training, n_steps=n_steps, tracker=tracker)
    last_checkpoint = checkpoint_dir / "last.ckpt"
    resume_from = last_checkpoint if last_checkpoint.exists() else None
    job = TrainingJob(module, train_batches, valid_batches, checkpoint_dir, resume_from)
    best_checkpoint = job.run(progress=progress)
    module.load_state_dict(
        torch.load(best_checkpoint, map_location="cpu", weights_only=True)["state_dict"]
    )
    return PretrainedCheckpoint(model, _mean_state(nets), card="")


def share_parameters(net: ChronotopeNet, source: ChronotopeNet) -> None:
    """Replace the transferable parameters of a network by those of another, in place.

    Args:
        net: A network over one catalogue.
        source: A network of the same configuration over another one.
    """
    shared = dict(source.named_parameters())
    for name, _ in list(net.named_parameters()):
        if is_transferable(name):
            *module_path, parameter_name = name.split(".")
            module = net.get_submodule(".".join(module_path))
            module.register_parameter(parameter_name, shared[name])


def _mean_state(nets: list[ChronotopeNet]) -> dict[str, Tensor]:
    """Transferable state, the mean rows of embeddings averaged over the logs."""
    states = [transferable_state(net) for net in nets]
    return {name: torch.stack([state[name] for state in states]).mean(0) for name in states[0]}
