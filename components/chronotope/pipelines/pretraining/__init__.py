"""Steps of the flow ``pretrain-model``, and the start of a training from its result."""
