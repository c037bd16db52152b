"""Numeric event log and snapshots, built from the tables of the lake."""
