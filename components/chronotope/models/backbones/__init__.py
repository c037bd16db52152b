"""Families of learned recommenders: each turns the latest events into scores of items."""
