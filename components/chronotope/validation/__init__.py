"""Judging rows before they are written: Great Expectations suites and verdicts."""
