"""What a run leaves to look at: one self-contained HTML page and the model card."""
