"""The sections of the page, each empty when its part of the data is absent."""

import math

from chronotope.contracts.escaping import html_text
from chronotope.report import pareto_chart, svg_charts
from chronotope.report.formatting import (
    format_number,
    format_percent,
    metric_label,
    metric_order,
    words_of_identifier,
)
from chronotope.report.html_parts import Row
from chronotope.report.html_parts import estimate as _estimate
from chronotope.report.html_parts import figure as _figure
from chronotope.report.html_parts import section as _section
from chronotope.report.html_parts import table as _table
from chronotope.report.report_data import ModelRow, ReportData

_CARD_HEADINGS = (
    ("intended_use", "Intended use"),
    ("training_data", "Training data"),
    ("metrics", "Metrics"),
    ("limits", "Limits"),
    ("ethics", "Ethics"),
)


def gate_section(data: ReportData) -> str:
    """Promoted or not, with reasons."""
    if data.gate is None:
        return ""
    kind, word = ("yes", "Promoted") if data.gate.promoted else ("no", "Not promoted")
    reasons = "".join(f"<li>{html_text(reason)}</li>" for reason in data.gate.reasons)
    listed = f"<ul>{reasons}</ul>" if reasons else ""
    return _section("Gate", f'<p><span class="verdict {kind}">{word}</span></p>', listed)


def model_section(data: ReportData) -> str:
    """Every model against every metric, best first, and the main metric drawn."""
    if not data.models:
        return ""
    names = metric_order(row.metrics for row in data.models)
    ranked = sorted(data.models, key=lambda row: _main_value(row, data.main_metric), reverse=True)
    rows: list[Row] = []
    for row in ranked:
        mark = f" \N{BLACK STAR} {_role(data)}" if row.champion else ""
        cells = [html_text(row.name) + mark, *(_estimate(row.metrics.get(n)) for n in names)]
        rows.append((cells, row.champion))
    label = metric_label(data.main_metric)
    drawn = [
        (row.name, row.metrics[data.main_metric].value, row.champion)
        for row in ranked
        if data.main_metric in row.metrics
    ]
    picture = (
        _figure(svg_charts.bar_chart(drawn, f"{label} by model"), html_text(label)) if drawn else ""
    )
    caption = "Small numbers: 95 % interval."
    heads = ["Model", *map(metric_label, names)]
    return _section("Accuracy against baselines", _table(caption, heads, rows), picture)


def _main_value(row: ModelRow, metric: str) -> float:
    value = row.metrics[metric].value if metric in row.metrics else math.nan
    return value if math.isfinite(value) else -math.inf


def _role(data: ReportData) -> str:
    """What the chosen model is after the gate has spoken."""
    return "challenger" if data.gate is not None and not data.gate.promoted else "champion"


def fold_section(data: ReportData) -> str:
    """The main metric of each model in each fold."""
    if not data.folds:
        return ""
    value = {(row.model, row.fold): row.value for row in data.folds}
    columns = sorted({row.fold for row in data.folds})
    winner = data.champion.name if data.champion else None
    rows: list[Row] = [
        (
            [html_text(model), *(format_number(value.get((model, fold))) for fold in columns)],
            model == winner,
        )
        for model in dict.fromkeys(row.model for row in data.folds)
    ]
    caption = f"{metric_label(data.main_metric)} in each rolling-origin fold, oldest first."
    return _section("Folds", _table(caption, ["Model", *(f"Fold {c}" for c in columns)], rows))


def slice_section(data: ReportData) -> str:
    """The chosen model on parts of the targets."""
    if not data.slices:
        return ""
    names = metric_order(row.metrics for row in data.slices)
    rows: list[Row] = [
        (
            [
                html_text(words_of_identifier(row.name)),
                format_number(row.n_targets, 0),
                *(format_number(row.metrics.get(name)) for name in names),
            ],
            False,
        )
        for row in data.slices
    ]
    heads = ["Slice", "Targets", *map(metric_label, names)]
    return _section("Slices", _table(f"The {_role(data)} on parts of the targets.", heads, rows))


def context_column_section(data: ReportData) -> str:
    """What each context column is worth on later time."""
    rows: list[Row] = [
        (
            [html_text(row.name), _estimate(row.lost), "listened to" if row.kept else "dropped"],
            False,
        )
        for row in data.columns
    ]
    caption = (
        "MRR lost on the latest folds when the column is shuffled, with its 95 % interval; "
        "columns whose interval reaches zero are dropped."
    )
    heads = ["Column", "MRR lost", "Verdict"]
    return _section("Context", _table(caption, heads, rows)) if rows else ""


def time_section(data: ReportData) -> str:
    """Calibration of the predicted moment."""
    if data.when is None:
        return ""
    parts, levels = [], data.when.coverage
    if data.when.pit_counts:
        svg = svg_charts.histogram(data.when.pit_counts, "Histogram of the predicted probability")
        parts.append(_figure(svg, "Flat along the dashed line when the forecast is honest."))
    if levels:
        svg = svg_charts.reliability_diagram(levels, "Actual against nominal coverage")
        parts.append(_figure(svg, "On the diagonal when intervals hold what they promise."))
    nll = format_number(data.when.nll)
    words = f"<p>Negative log-likelihood of the hours to the next event: <b>{nll}</b>.</p>"
    rows: list[Row] = [
        ([format_percent(c.nominal, 0), format_percent(c.actual)], False) for c in levels
    ]
    table = _table("Coverage of intervals.", ["Nominal", "Actual"], rows) if rows else ""
    pair = f'<div class="pair">{"".join(parts)}</div>'
    return _section("When: calibration", words if data.when.nll is not None else "", pair, table)


def place_section(data: ReportData) -> str:
    """How right and how far off the likeliest places are, and a map of the targets."""
    rows: list[Row] = [
        (
            [
                html_text(of.name),
                format_percent(of.accuracy),
                format_number(of.median_km, 2),
                format_number(of.n_targets, 0),
            ],
            False,
        )
        for of in data.where
    ]
    heads = ["Place told by", "Right", "Median km off", "Targets"]
    table = _table("The likeliest place of the next event, its time hidden.", heads, rows)
    parts = [table if rows else "", _map(data)]
    return _section("Where", *parts) if any(parts) else ""


def _map(data: ReportData) -> str:
    if not data.map_points:
        return ""
    keys = "".join(f'<i class="key q{i}"></i>{20 * i}\N{EN DASH}{20 * i + 20} %' for i in range(5))
    svg = svg_charts.scatter_map(data.map_points, "Map of targets by share predicted right")
    return _figure(svg, f"Share right:{keys}. Area: number of targets.")


def compression_section(data: ReportData) -> str:
    """What each compressed artefact costs and saves, the front drawn, and why one was chosen."""
    if not data.candidates:
        return ""
    rows: list[Row] = [
        (
            [
                html_text(row.name) + (" \N{BLACK STAR} chosen" if row.chosen else ""),
                format_number(row.size_mb, 2),
                format_number(row.p50_ms, 2),
                format_number(row.p99_ms, 2),
                format_number(row.ndcg),
                format_number(row.ndcg_loss, 4),
                format_number(row.acc),
                format_number(row.queries_per_s, 0),
                format_number(row.rss_mb, 1),
                "yes" if row.front else "",
            ],
            row.chosen,
        )
        for row in data.candidates
    ]
    heads = ["Candidate", "Size, MB", "p50, ms", "p99, ms", "NDCG@10", "NDCG@10 lost", "Acc@10"]
    heads += ["Queries a second", "Memory, MB", "On the front"]
    caption = "One thread, queries a second in batches of 64, memory above bare ONNX Runtime."
    passed = [
        f"<li>{html_text(r.name)}: {html_text(r.why_not)}</li>"
        for r in data.candidates
        if r.why_not
    ]
    reasons = f"<h3>Passed over</h3><ul>{''.join(passed)}</ul>" if passed else ""
    svgs = "".join(_figure(svg, _FRONT) for svg in pareto_chart.cost_charts(data).values())
    picture = f'<div class="pair">{svgs}</div>' if svgs else ""
    table = _table(caption, heads, rows)
    return _section("Compression", _objective(data), picture, table, reasons)


_FRONT = "Up: NDCG@10. The line joins what nothing beats in both. Dashed: the bound."


def _objective(data: ReportData) -> str:
    of = data.objective
    if of is None:
        return ""
    bounds = (
        f"At most {of.max_ndcg_loss:g} NDCG@10 lost, {of.max_latency_ms:g} ms a query, "
        f"{of.max_size_mb:g} MB."
    )
    return f"<p>{html_text(bounds)}</p><p>{html_text(of.reason)}</p>"


def ingestion_section(data: ReportData) -> str:
    """Where the rows went, from the source to the clean log."""
    parts = []
    if data.ingestion is not None:
        counts = data.ingestion
        lost: list[Row] = [
            ([html_text(k), format_number(v, 0)], False) for k, v in counts.quarantined.items()
        ]
        rows: list[Row] = [
            (["Rows read", format_number(counts.n_read, 0)], False),
            (["Rows accepted", format_number(counts.n_good, 0)], False),
            (["Rows quarantined", format_number(counts.n_quarantined, 0)], False),
        ]
        parts.append(
            _table("Every row read is accepted or quarantined.", ["Outcome", "Rows"], rows)
        )
        if lost:
            parts.append(
                _table("Quarantined by reason; a row may have several.", ["Reason", "Rows"], lost)
            )
    if data.noise:
        removed: list[Row] = [
            ([html_text(words_of_identifier(k)), format_number(v, 0)], False)
            for k, v in data.noise.items()
        ]
        parts.append(_table("Accepted, then left out as noise.", ["Filter", "Events"], removed))
    return _section("Data", *parts) if parts else ""


def step_section(data: ReportData) -> str:
    """Time and memory of each step."""
    if not data.steps:
        return ""
    rows: list[Row] = [
        (
            [
                html_text(words_of_identifier(s.name)),
                format_number(s.seconds, 1),
                format_number(s.peak_mb, 0),
            ],
            False,
        )
        for s in data.steps
    ]
    rows.append(
        (["Total", format_number(sum(s.seconds for s in data.steps), 1), _peak(data)], True)
    )
    heads = ["Step", "Seconds", "Peak memory, MB"]
    return _section("Steps", _table("Wall time and peak memory.", heads, rows))


def _peak(data: ReportData) -> str:
    return format_number(
        max((s.peak_mb for s in data.steps if s.peak_mb is not None), default=None), 0
    )


def card_section(data: ReportData) -> str:
    """The words of the model card."""
    if data.card is None:
        return ""
    words = data.card.model_dump()
    parts = [f"<h3>{h}</h3><p>{html_text(words[k])}</p>" for k, h in _CARD_HEADINGS if words[k]]
    return _section("Model card", *parts) if parts else ""
