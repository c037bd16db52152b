"""RNN, LSTM and GRU."""

from torch import Tensor, nn

from chronotope.models.backbones.event_inputs import EventInputs, TimeEncoding
from chronotope.models.config import ModelConfig


class Recurrent(nn.Module):
    """A recurrent network over the latest events.

    Without biases, padding on the left leaves its state at zero, so that the width of
    a batch does not matter; the bias of the clock's layer takes their place.

    Source:
        Hidasi et al. (2016), Session-based Recommendations with Recurrent Neural
        Networks (GRU4Rec).
    """

    def __init__(self, config: ModelConfig) -> None:
        """Build the layers."""
        super().__init__()
        d = config.d_model
        cell = {"gru": nn.GRU, "lstm": nn.LSTM, "rnn": nn.RNN}[config.backbone]
        self.timed = TimeEncoding(d, config.dropout)
        self.recurrent = cell(d, d, config.n_layers, bias=False, batch_first=True)

    def forward(self, x: Tensor, events: EventInputs) -> Tensor:
        """State after each event, shape (R, W, d_model) kept."""
        states: Tensor = self.recurrent(self.timed(x, events))[0]
        return states
