"""Losses of the item, time and place heads."""
