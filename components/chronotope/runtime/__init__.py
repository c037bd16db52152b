"""Paths, locks, step cache, store addresses and the task engine that every layer above may use."""
