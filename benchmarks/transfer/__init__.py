"""Transfer of pretrained parameters to logs that the pretraining did not see."""
