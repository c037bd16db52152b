"""Great Expectations behind one door: suites as JSON, verdicts by row."""

from chronotope.validation.docs import build_docs
from chronotope.validation.suite import check_events, check_table, shares

__all__ = ["build_docs", "check_events", "check_table", "shares"]
