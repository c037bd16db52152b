"""Scores of candidates by their item context, such as promotions."""

from chronotope.models.item_context.item_context_head import ItemContextHead

__all__ = ["ItemContextHead"]
