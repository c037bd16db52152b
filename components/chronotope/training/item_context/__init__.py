"""Item context: its weights and the worth of its columns, fitted after the training."""

from chronotope.training.item_context.fit_item_context import fit_item_context

__all__ = ["fit_item_context"]
