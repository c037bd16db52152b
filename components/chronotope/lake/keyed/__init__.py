"""Deliveries of tables whose rows replace each other by key."""

from chronotope.lake.keyed.keyed_delivery import KeyedDelivery, keyed_delivery

__all__ = ["KeyedDelivery", "keyed_delivery"]
