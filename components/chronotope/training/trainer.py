"""Lightning's trainer, set up the same for every training: on the CPU, quiet, clipped."""

import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import (
    Callback,
    EarlyStopping,
    ModelCheckpoint,
    RichProgressBar,
)

from chronotope.training.lightning_module import NextEventModule
from chronotope.training.prequential import RoundBatches


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """One training, until later time no longer improves.

    Attributes:
        module: What is trained.
        train: Batches to learn from.
        valid: Batches that choose the epoch.
        folder: Where checkpoints go.
        resume: Checkpoint to go on from; None starts anew.
    """

    module: NextEventModule
    train: RoundBatches
    valid: RoundBatches
    folder: Path
    resume: Path | None = None

    def run(self, *, progress: bool = False, **options: Any) -> Path:
        """Train; returns the best checkpoint.

        Args:
            progress: Show a progress bar.
            options: More for Lightning's trainer.
        """
        config = self.module.config
        keep = ModelCheckpoint(self.folder, "best", monitor="later_loss", save_last=True)
        stop = EarlyStopping("later_loss", patience=config.patience)
        trainer = make_trainer([keep, stop], config.max_epochs, progress=progress, **options)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*Checkpoint directory.*")
            trainer.fit(self.module, self.train, self.valid, ckpt_path=self.resume)
        return Path(keep.best_model_path)


def make_trainer(
    callbacks: list[Callback], max_epochs: int, *, progress: bool, **options: Any
) -> lightning.Trainer:
    """A trainer on the CPU.

    Args:
        callbacks: What listens.
        max_epochs: Passes at most.
        progress: Show a progress bar.
        options: More for Lightning's trainer.
    """
    for talks in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(talks).setLevel(logging.WARNING)
    return lightning.Trainer(
        max_epochs=max_epochs,
        accelerator="cpu",
        gradient_clip_val=1.0,
        callbacks=[*callbacks, RichProgressBar()] if progress else callbacks,
        logger=False,
        enable_progress_bar=progress,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **options,
    )
