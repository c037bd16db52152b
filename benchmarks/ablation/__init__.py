"""Ablation: accuracy of the model with one part switched off at a time."""
