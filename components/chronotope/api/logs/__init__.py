"""Logs of data frames: reading, checks, and the events in memory or in a lake."""
