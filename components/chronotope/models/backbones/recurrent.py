"""Recurrent backbones: RNN, LSTM and GRU."""

from torch import Tensor, nn

from chronotope.models.backbones.event_inputs import EventInputs, TimeEncoding
from chronotope.models.config import ModelConfig


class Recurrent(nn.Module):
    """A recurrent network over the latest events.

    Without biases, padding on the left leaves its state at zero, so that the width of
    a batch does not matter; the bias of the clock layer replaces them.

    Source:
        Hidasi et al. (2016), Session-based Recommendations with Recurrent Neural
        Networks (GRU4Rec).
    """

    def __init__(self, config: ModelConfig) -> None:
        """Build the layers."""
        super().__init__()
        d_model = config.d_model
        cell_type = {"gru": nn.GRU, "lstm": nn.LSTM, "rnn": nn.RNN}[config.backbone]
        self.time_encoding = TimeEncoding(d_model, config.dropout)
        self.recurrent_layer = cell_type(
            d_model, d_model, config.n_layers, bias=False, batch_first=True
        )

    def forward(self, vectors: Tensor, events: EventInputs) -> Tensor:
        """State after each event, shape (R, W, d_model)."""
        states: Tensor = self.recurrent_layer(self.time_encoding(vectors, events))[0]
        return states
