"""Distances, cells and local time."""
