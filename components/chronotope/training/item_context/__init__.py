"""Worth of the columns of the item context, measured in a training."""

from chronotope.training.item_context.drop_columns import drop_columns_without_worth

__all__ = ["drop_columns_without_worth"]
