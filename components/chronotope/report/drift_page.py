"""The page of the monitoring: what is watched, what is usual, and what is not."""

from chronotope.contracts.drift_report import DriftCheck, DriftReport
from chronotope.contracts.escaping import html_text
from chronotope.report import svg_charts
from chronotope.report.formatting import format_instant, format_number, format_percent, metric_label
from chronotope.report.html_parts import Row, estimate, figure, section, table
from chronotope.report.page import html_document
from chronotope.report.report_data import Estimate

_PARTS = {"data": "Data", "predictions": "Predictions", "outcome": "Outcome"}
_DRAWN = ("ndcg_10", "when_coverage_80", "entropy", "coverage", "gini", "unknown_items")
_SHOWN_BINS = 12


def render_drift(found: DriftReport) -> str:
    """Render the page; parts that are absent are left out.

    Args:
        found: What monitoring found. Every text in it is escaped.

    Returns:
        A complete HTML document with inline style and drawings, and no script.
    """
    champion = "no champion" if found.champion is None else f"champion {found.champion}"
    span = f"{format_instant(found.window_start)} to {format_instant(found.window_end)}"
    facts = (f"Data version {found.data_version}", champion, f"window {span}")
    body = (_verdict(found), *(_checks(found, part) for part in _PARTS), _outcome(found))
    extra = _columns(found) + _rolling(found)
    return html_document(
        f"Chronotope: drift of {found.dataset}", facts, None, "".join(body) + extra
    )


def _verdict(found: DriftReport) -> str:
    kind = {"drift": "no", "no drift": "yes"}.get(found.verdict, "soft")
    told = [*found.reasons, *found.notes]
    if found.is_old:
        told.append(
            f"the champion reigns for {format_number(found.champion_age_days, 1)} days: too long"
        )
    listed = "".join(f"<li>{html_text(words)}</li>" for words in told)
    word = f'<p><span class="verdict {kind}">{html_text(found.verdict)}</span></p>'
    return section("Verdict", word, f"<ul>{listed}</ul>" if listed else "")


def _checks(found: DriftReport, part: str) -> str:
    checks = [check for check in found.checks if check.part == part]
    rows: list[Row] = [(_cells(check), check.verdict == "drift") for check in checks]
    caption = (
        "Small numbers: 95 % interval, users resampled; of divergences it is freed of the noise "
        "of sampling, the number is not. Drift begins where history says that the usual ends."
    )
    heads = ["What", "How", "Now", "Usual", "Drift begins", "p", "History", "Verdict"]
    return section(_PARTS[part], table(caption, heads, rows)) if rows else ""


def _cells(check: DriftCheck) -> list[str]:
    return [
        html_text(check.name),
        html_text(check.statistic),
        estimate(Estimate(value=check.value, low=check.low, high=check.high)),
        format_number(check.usual),
        format_number(check.threshold),
        _chance(check.p_value),
        format_number(check.n_history, 0),
        html_text(check.verdict),
    ]


def _chance(p_value: float | None) -> str:
    """A p-value; one too small to print is not nothing."""
    return "&lt; 0.0001" if p_value is not None and p_value < 1e-4 else format_number(p_value, 4)


def _columns(found: DriftReport) -> str:
    drawn = []
    for column in found.columns:
        told = sorted(column.bins, key=lambda each: -max(each.reference, each.current))
        kept = {id(each) for each in told[:_SHOWN_BINS]}
        rows = [(b.label, b.reference, b.current) for b in column.bins if id(b) in kept]
        drawn.append(figure(svg_charts.paired_bars(rows, column.name), html_text(column.name)))
    words = "<p>Share in the reference (pale) and in the current window (strong).</p>"
    return section("Columns", words, f'<div class="pair">{"".join(drawn)}</div>') if drawn else ""


def _rolling(found: DriftReport) -> str:
    if not found.windows:
        return ""
    ends = (f"{found.windows[0].end:%Y-%m-%d}", f"{found.windows[-1].end:%Y-%m-%d}")
    drawn = []
    for name in _DRAWN:
        values = [row.metrics[name] for row in found.windows if name in row.metrics]
        label = metric_label(name)
        if values:
            drawn.append(
                figure(svg_charts.line_chart(values, ends, f"{label} by window"), html_text(label))
            )
    if found.pit:
        counts = [round(10_000 * share) for share in found.pit]
        svg = svg_charts.histogram(counts, "Histogram of the predicted probability")
        drawn.append(figure(svg, "When: flat along the dashed line when the forecast is honest."))
    words = "<p>The champion on later events, each predicted from what was known before it.</p>"
    pair = f'<div class="pair">{"".join(drawn)}</div>'
    return section("Predictions over time", words, pair)


def _outcome(found: DriftReport) -> str:
    told = found.outcome
    if told is None or not told.n_answers:
        return ""
    words = (
        f"<p>{format_number(told.n_answers, 0)} answers followed up; {format_number(told.n_open, 0)} are too "
        f"young, {format_number(told.n_nameless, 0)} went to strangers. {format_percent(told.explored)} were "
        f"explored; concentration of what was shown (Gini) {format_number(told.gini)}.</p>"
    )
    days: list[Row] = [
        (
            [
                html_text(of.day),
                html_text(of.version),
                format_number(of.n_answers, 0),
                format_percent(of.hit_rate),
            ],
            False,
        )
        for of in told.days
    ]
    positions: list[Row] = [
        (
            [
                str(of.position),
                format_number(of.n_shown, 0),
                format_percent(of.hit_rate),
                format_number(None) if of.weighted is None else format_percent(of.weighted),
            ],
            False,
        )
        for of in told.positions
    ]
    return section(
        "Outcome of answers",
        words,
        table("By day and version.", ["Day", "Version", "Answers", "Followed"], days),
        table(
            "By position; by inverse propensity: what any item would get there.",
            ["Position", "Shown", "Followed", "By inverse propensity"],
            positions,
        ),
    )
