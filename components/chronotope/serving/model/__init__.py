"""Loaded models: champion watcher, experiment arms, inference, exploration, shadows, replay."""
