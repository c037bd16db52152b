"""Great Expectations behind one door: suites as JSON, verdicts by row."""

from chronotope.validation.docs import build_docs
from chronotope.validation.drift import Profile, profile_of
from chronotope.validation.suite import check_events, check_table, shares

__all__ = ["Profile", "build_docs", "check_events", "check_table", "profile_of", "shares"]
