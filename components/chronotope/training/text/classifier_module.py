"""Lightning module of a text classifier."""

from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.nn import functional

from chronotope.metrics.classification import macro_f1
from chronotope.training.text.classifier_network import TextClassifierNetwork
from chronotope.training.text.config import TextClassifierConfig
from chronotope.training.text.text_batches import LabelledBatch


class TextClassifierModule(lightning.LightningModule):
    """Weighted cross-entropy with label smoothing; the best epoch is that of the best macro-F1."""

    def __init__(
        self,
        network: TextClassifierNetwork,
        config: TextClassifierConfig,
        *,
        label_weights: Tensor,
        n_steps: int,
    ) -> None:
        """Wrap a network.

        Args:
            network: The network.
            config: Hyper-parameters.
            label_weights: Weight of each label in the loss, shape (n_labels,).
            n_steps: Length of the learning-rate cycle.
        """
        super().__init__()
        self.network, self.config, self.n_steps = network, config, n_steps
        self.register_buffer("label_weights", label_weights)
        self.scores: list[float] = []
        self._predicted: list[tuple[Tensor, Tensor, Tensor]] = []

    def training_step(self, batch: LabelledBatch) -> Tensor:
        """Loss of a batch."""
        loss_of_text = functional.cross_entropy(
            self.network(batch.texts),
            batch.label_idx,
            reduction="none",
            label_smoothing=self.config.label_smoothing,
        )
        text_weights = batch.weights * self.label_weights[batch.label_idx]  # type: ignore[index]
        return (loss_of_text * text_weights).sum() / text_weights.sum()

    def validation_step(self, batch: LabelledBatch) -> None:
        """Collect the predictions of a batch."""
        predicted_idx = self.network(batch.texts).argmax(1)
        self._predicted.append((batch.label_idx, predicted_idx, batch.weights))

    def on_validation_epoch_end(self) -> None:
        """Log the macro-F1 of the epoch."""
        batch_columns = zip(*self._predicted, strict=True)
        label_idx, predicted_idx, text_weights = (
            torch.cat(batch_column).numpy() for batch_column in batch_columns
        )
        epoch_score = macro_f1(
            label_idx, predicted_idx, weights=np.asarray(text_weights, np.float64)
        )
        self._predicted.clear()
        self.scores.append(epoch_score)
        self.log("macro_f1", epoch_score)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW with one cycle of warm-up and decay; the output layer learns faster."""
        body_weights = [weight for weight in self.network.bert.parameters() if weight.requires_grad]
        head_weights, term_weights = self.network.deep.parameters(), self.network.terms.parameters()
        config = self.config
        optimizer = torch.optim.AdamW(
            [
                {"params": body_weights, "weight_decay": config.weight_decay},
                {"params": list(head_weights), "weight_decay": 0.0},
                {"params": list(term_weights), "weight_decay": 0.0},
            ]
        )
        rate_schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            [
                config.learning_rate or 0.0,
                config.head_learning_rate,
                config.term_learning_rate or 0.0,
            ],
            total_steps=max(self.n_steps, 2),
            pct_start=0.1,
        )
        schedule_config: dict[str, Any] = {"scheduler": rate_schedule, "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": schedule_config}  # type: ignore[typeddict-item]
