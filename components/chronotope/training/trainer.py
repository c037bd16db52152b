"""Lightning trainer of every training: on the CPU, quiet, with clipped gradients."""

import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, Self

import lightning
import torch
from lightning.pytorch.callbacks import (
    Callback,
    EarlyStopping,
    ModelCheckpoint,
    RichProgressBar,
)

from chronotope.contracts.errors import ConfigError
from chronotope.training.allocator import reuse_freed_memory
from chronotope.training.config import Accelerator
from chronotope.training.lightning_module import NextEventModule


class EpochBatches(Protocol):
    """Batches of a training, over one log or several."""

    def __len__(self) -> int:
        """Number of batches in an epoch."""

    def __iter__(self) -> Iterator[Any]:
        """The batches of one epoch."""

    def shard(self, rank: int, n: int) -> Self:
        """The same batches, each reduced to the shard of one of n processes."""

    def for_helpers(self) -> Self:
        """The same batches, without the events that none of them needs."""


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """One training, until the validation loss stops improving.

    Attributes:
        module: Network and losses.
        train_batches: Training batches.
        valid_batches: Validation batches, which select the epoch.
        checkpoint_dir: Directory of the checkpoints.
        resume_from: Checkpoint to resume from; None starts at epoch 0.
    """

    module: NextEventModule
    train_batches: EpochBatches
    valid_batches: EpochBatches
    checkpoint_dir: Path
    resume_from: Path | None = None

    def run(self, *, progress: bool = False, **options: Any) -> Path:
        """Train; returns the best checkpoint.

        Args:
            progress: Show a progress bar.
            options: Further arguments of Lightning's trainer.
        """
        config = self.module.config
        checkpoint_callback = ModelCheckpoint(
            self.checkpoint_dir, "best", monitor="later_loss", save_last=True
        )
        stopping_callback = EarlyStopping("later_loss", patience=config.patience)
        trainer = make_trainer(
            [checkpoint_callback, stopping_callback],
            config.max_epochs,
            accelerator=config.accelerator,
            progress=progress,
            **options,
        )
        with self.module.threads(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*Checkpoint directory.*")
            trainer.fit(
                self.module, self.train_batches, self.valid_batches, ckpt_path=self.resume_from
            )
        return Path(checkpoint_callback.best_model_path)


def make_trainer(
    callbacks: list[Callback],
    max_epochs: int,
    *,
    accelerator: Accelerator,
    progress: bool,
    max_gradient_norm: float | None = 1.0,
    **options: Any,
) -> lightning.Trainer:
    """A trainer on the CPU or on one CUDA device.

    Args:
        callbacks: Lightning callbacks.
        max_epochs: Maximum number of passes.
        accelerator: Device; several processes share batches on the CPU only.
        progress: Show a progress bar.
        max_gradient_norm: Bound of the gradient; None for modules that step by themselves.
        options: Further arguments of Lightning's trainer.

    Raises:
        ConfigError: CUDA is asked for, and PyTorch sees no CUDA device.
    """
    reuse_freed_memory()
    for logger_name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(logger_name).setLevel(logging.WARNING)
    return lightning.Trainer(
        max_epochs=max_epochs,
        accelerator=device_type(accelerator, shared="strategy" in options),
        gradient_clip_val=max_gradient_norm,
        callbacks=[*callbacks, RichProgressBar()] if progress else callbacks,
        logger=False,
        enable_progress_bar=progress,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **({"devices": 1} | options),
    )


def device_type(accelerator: Accelerator, *, shared: bool) -> Literal["cpu", "cuda"]:
    """Device of a training.

    Args:
        accelerator: The setting.
        shared: Whether several processes share the batches.

    Raises:
        ConfigError: CUDA is asked for and cannot be used.
    """
    usable = torch.cuda.is_available() and not shared
    if accelerator == "cuda" and not usable:
        raise ConfigError(
            "The training asks for a CUDA device that cannot be used",
            received=f"accelerator: cuda, {'several processes' if shared else 'no CUDA device'}",
            way_out="Set training.accelerator: cpu, or install PyTorch for CUDA and set "
            "training.n_processes: 1",
        )
    return "cuda" if usable and accelerator != "cpu" else "cpu"
