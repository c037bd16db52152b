"""Rows that were posted to a service, durable until an ingestion merges them."""

from chronotope.lake.posted.posted_item_context import PostedContextRow, PostedItemContext

__all__ = ["PostedContextRow", "PostedItemContext"]
