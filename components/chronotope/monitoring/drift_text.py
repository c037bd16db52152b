"""Drift reasons and summary as text."""

from chronotope.contracts.drift_report import DriftCheck, DriftReport
from chronotope.contracts.escaping import markdown_text


def drift_reason(check: DriftCheck) -> str:
    """One drift as a sentence."""
    usual = "" if check.usual is None else f", expected {check.usual:.3g}"
    beyond = "" if check.threshold is None else f", threshold {check.threshold:.3g}"
    told = f"{check.part}: {check.name} ({check.statistic}) is {check.value:.3g}"
    return f"{told}{usual}{beyond} (p {check.p_value:.2g})"


def drift_summary(found: DriftReport) -> str:
    """Verdict with its reasons and the checks that could not be evaluated, as Markdown."""
    lines = [*found.reasons, *found.notes]
    if found.is_old and found.champion_age_days is not None:
        lines.append(f"champion {found.champion} is stale: {found.champion_age_days:.1f} days old")
    listed = "\n".join(f"- {markdown_text(line)}" for line in lines)
    window = f"{found.window_start:%Y-%m-%d %H:%M} to {found.window_end:%Y-%m-%d %H:%M} UTC"
    return f"**{markdown_text(found.dataset)}, {window}: {found.verdict}.**\n\n{listed}".rstrip()
