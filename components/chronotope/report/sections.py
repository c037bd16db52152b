"""Sections of the HTML report; a section is empty when its data are absent."""

import math
from collections.abc import Sequence

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
from chronotope.report.model_card import CARD_HEADINGS
from chronotope.report.report_data import ColumnRow, ModelRow, ReportData


def gate_section(report_data: ReportData) -> str:
    """Decision of the promotion gate, with its reasons."""
    if report_data.gate is None:
        return ""
    css_class, gate_word = (
        ("yes", "Promoted") if report_data.gate.promoted else ("no", "Not promoted")
    )
    reason_items = "".join(f"<li>{html_text(reason)}</li>" for reason in report_data.gate.reasons)
    reason_list = f"<ul>{reason_items}</ul>" if reason_items else ""
    return _section(
        "Gate", f'<p><span class="verdict {css_class}">{gate_word}</span></p>', reason_list
    )


def model_section(report_data: ReportData) -> str:
    """Table of models and metrics, best first, and a chart of the main metric."""
    if not report_data.models:
        return ""
    metric_names = metric_order(model_row.metrics for model_row in report_data.models)
    ranked_models = sorted(
        report_data.models,
        key=lambda model_row: _main_value(model_row, report_data.main_metric),
        reverse=True,
    )
    table_rows: list[Row] = []
    for model_row in ranked_models:
        champion_mark = f" \N{BLACK STAR} {_role(report_data)}" if model_row.champion else ""
        row_cells = [
            html_text(model_row.name) + champion_mark,
            *(_estimate(model_row.metrics.get(n)) for n in metric_names),
        ]
        table_rows.append((row_cells, model_row.champion))
    metric_title = metric_label(report_data.main_metric)
    chart_bars = [
        (model_row.name, model_row.metrics[report_data.main_metric].value, model_row.champion)
        for model_row in ranked_models
        if report_data.main_metric in model_row.metrics
    ]
    figure_html = (
        _figure(
            svg_charts.bar_chart(chart_bars, f"{metric_title} by model"), html_text(metric_title)
        )
        if chart_bars
        else ""
    )
    table_caption = "Small numbers: 95 % interval."
    column_heads = ["Model", *map(metric_label, metric_names)]
    return _section(
        "Accuracy against baselines", _table(table_caption, column_heads, table_rows), figure_html
    )


def _main_value(model_row: ModelRow, metric: str) -> float:
    fold_values = model_row.metrics[metric].value if metric in model_row.metrics else math.nan
    return fold_values if math.isfinite(fold_values) else -math.inf


def _role(report_data: ReportData) -> str:
    """Role of the chosen model after the decision of the gate."""
    return (
        "challenger"
        if report_data.gate is not None and not report_data.gate.promoted
        else "champion"
    )


def fold_section(report_data: ReportData) -> str:
    """Table of the main metric of each model in each fold."""
    if not report_data.folds:
        return ""
    fold_values = {
        (model_row.model, model_row.fold): model_row.value for model_row in report_data.folds
    }
    fold_numbers = sorted({model_row.fold for model_row in report_data.folds})
    champion_name = report_data.champion.name if report_data.champion else None
    table_rows: list[Row] = [
        (
            [
                html_text(model),
                *(format_number(fold_values.get((model, fold))) for fold in fold_numbers),
            ],
            model == champion_name,
        )
        for model in dict.fromkeys(model_row.model for model_row in report_data.folds)
    ]
    table_caption = (
        f"{metric_label(report_data.main_metric)} in each rolling-origin fold, oldest first."
    )
    return _section(
        "Folds", _table(table_caption, ["Model", *(f"Fold {c}" for c in fold_numbers)], table_rows)
    )


def slice_section(report_data: ReportData) -> str:
    """Metrics of the chosen model on slices of the targets."""
    if not report_data.slices:
        return ""
    metric_names = metric_order(model_row.metrics for model_row in report_data.slices)
    table_rows: list[Row] = [
        (
            [
                html_text(words_of_identifier(model_row.name)),
                format_number(model_row.n_targets, 0),
                *(format_number(model_row.metrics.get(name)) for name in metric_names),
            ],
            False,
        )
        for model_row in report_data.slices
    ]
    column_heads = ["Slice", "Targets", *map(metric_label, metric_names)]
    return _section(
        "Slices",
        _table(f"The {_role(report_data)} on parts of the targets.", column_heads, table_rows),
    )


def context_column_section(report_data: ReportData) -> str:
    """Permutation importance of each context column, measured on later events."""
    table_caption = (
        "MRR lost on the latest folds when the column is shuffled, with its 95 % interval; "
        "columns whose interval reaches zero are dropped."
    )
    return _importance_section("Context", "Column", table_caption, report_data.columns)


def content_section(report_data: ReportData) -> str:
    """Permutation importance of each kind of content, measured on later events."""
    table_caption = (
        "MRR lost on the latest folds when the vectors of the items are shuffled, with its 95 % "
        "interval; items without events are a fifth of the items, treated as new. A kind of "
        "content is used if its interval at all items lies above zero, or that at items without "
        "events above 0.001."
    )
    return _importance_section("Content", "Content", table_caption, report_data.modalities)


def _importance_section(
    title: str, column_head: str, table_caption: str, importance_rows: Sequence[ColumnRow]
) -> str:
    """Table of permutation importances; empty without rows."""
    table_rows: list[Row] = [
        (
            [html_text(row.name), _estimate(row.lost), "used" if row.kept else "dropped"],
            False,
        )
        for row in importance_rows
    ]
    column_heads = [column_head, "MRR lost", "Verdict"]
    return _section(title, _table(table_caption, column_heads, table_rows)) if table_rows else ""


def time_section(report_data: ReportData) -> str:
    """Calibration of the predicted time of the next event."""
    if report_data.when is None:
        return ""
    html_parts, coverage_levels = [], report_data.when.coverage
    if report_data.when.pit_counts:
        svg_html = svg_charts.histogram(
            report_data.when.pit_counts, "Histogram of the predicted probability"
        )
        html_parts.append(
            _figure(svg_html, "Flat along the dashed line if the forecast is calibrated.")
        )
    if coverage_levels:
        svg_html = svg_charts.reliability_diagram(
            coverage_levels, "Actual against nominal coverage"
        )
        html_parts.append(
            _figure(svg_html, "On the diagonal if the intervals reach their nominal coverage.")
        )
    nll = format_number(report_data.when.nll)
    card_text = f"<p>Negative log-likelihood of the hours to the next event: <b>{nll}</b>.</p>"
    table_rows: list[Row] = [
        ([format_percent(c.nominal, 0), format_percent(c.actual)], False) for c in coverage_levels
    ]
    table_html = (
        _table("Coverage of intervals.", ["Nominal", "Actual"], table_rows) if table_rows else ""
    )
    figure_pair = f'<div class="pair">{"".join(html_parts)}</div>'
    return _section(
        "Time: calibration",
        card_text if report_data.when.nll is not None else "",
        figure_pair,
        table_html,
    )


def place_section(report_data: ReportData) -> str:
    """Accuracy and distance error of predicted places, and a map of the targets."""
    table_rows: list[Row] = [
        (
            [
                html_text(objective.name),
                format_percent(objective.accuracy),
                format_number(objective.median_km, 2),
                format_number(objective.n_targets, 0),
            ],
            False,
        )
        for objective in report_data.where
    ]
    column_heads = ["Place predicted by", "Accuracy", "Median error, km", "Targets"]
    table_html = _table(
        "The likeliest place of the next event, its time hidden.", column_heads, table_rows
    )
    html_parts = [table_html if table_rows else "", _map(report_data)]
    return _section("Where", *html_parts) if any(html_parts) else ""


def _map(report_data: ReportData) -> str:
    if not report_data.map_points:
        return ""
    legend_keys = "".join(
        f'<i class="key q{i}"></i>{20 * i}\N{EN DASH}{20 * i + 20} %' for i in range(5)
    )
    svg_html = svg_charts.scatter_map(report_data.map_points, "Map of targets by hit rate")
    return _figure(svg_html, f"Hit rate:{legend_keys}. Area: number of targets.")


def compression_section(report_data: ReportData) -> str:
    """Table of the compressed artefacts, chart of the Pareto front, and reason for the choice."""
    if not report_data.candidates:
        return ""
    table_rows: list[Row] = [
        (
            [
                html_text(model_row.name) + (" \N{BLACK STAR} chosen" if model_row.chosen else ""),
                format_number(model_row.size_mb, 2),
                format_number(model_row.p50_ms, 2),
                format_number(model_row.p99_ms, 2),
                format_number(model_row.ndcg),
                format_number(model_row.ndcg_loss, 4),
                format_number(model_row.acc),
                format_number(model_row.queries_per_s, 0),
                format_number(model_row.rss_mb, 1),
                "yes" if model_row.front else "",
            ],
            model_row.chosen,
        )
        for model_row in report_data.candidates
    ]
    column_heads = [
        "Candidate",
        "Size, MB",
        "p50, ms",
        "p99, ms",
        "NDCG@10",
        "NDCG@10 lost",
        "Acc@10",
    ]
    column_heads += ["Queries a second", "Memory, MB", "On the front"]
    table_caption = "One thread, queries a second in batches of 64, memory above bare ONNX Runtime."
    rejected_items = [
        f"<li>{html_text(r.name)}: {html_text(r.why_not)}</li>"
        for r in report_data.candidates
        if r.why_not
    ]
    reason_items = (
        f"<h3>Not chosen</h3><ul>{''.join(rejected_items)}</ul>" if rejected_items else ""
    )
    figures_html = "".join(
        _figure(svg_html, _FRONT) for svg_html in pareto_chart.cost_charts(report_data).values()
    )
    figure_html = f'<div class="pair">{figures_html}</div>' if figures_html else ""
    table_html = _table(table_caption, column_heads, table_rows)
    return _section("Compression", _objective(report_data), figure_html, table_html, reason_items)


_FRONT = "Vertical: NDCG@10. The line is the Pareto front. Dashed: the bound."


def _objective(report_data: ReportData) -> str:
    objective = report_data.objective
    if objective is None:
        return ""
    bounds_text = (
        f"At most {objective.max_ndcg_loss:g} NDCG@10 lost, "
        f"{objective.max_latency_ms:g} ms per query, {objective.max_size_mb:g} MB."
    )
    return f"<p>{html_text(bounds_text)}</p><p>{html_text(objective.reason)}</p>"


def ingestion_section(report_data: ReportData) -> str:
    """Row counts of the ingestion, from the source to the clean log."""
    html_parts = []
    if report_data.ingestion is not None:
        ingestion_counts = report_data.ingestion
        quarantine_rows: list[Row] = [
            ([html_text(k), format_number(v, 0)], False)
            for k, v in ingestion_counts.quarantined.items()
        ]
        table_rows: list[Row] = [
            (["Rows read", format_number(ingestion_counts.n_read, 0)], False),
            (["Rows accepted", format_number(ingestion_counts.n_good, 0)], False),
            (["Rows quarantined", format_number(ingestion_counts.n_quarantined, 0)], False),
        ]
        table_rows += [
            ([f"Rows dropped: {html_text(rule_name)}", format_number(n_rows, 0)], False)
            for rule_name, n_rows in ingestion_counts.dropped.items()
        ]
        html_parts.append(
            _table(
                "Every row read is accepted, quarantined or dropped by a filter.",
                ["Outcome", "Rows"],
                table_rows,
            )
        )
        if quarantine_rows:
            html_parts.append(
                _table(
                    "Quarantined by reason; a row may have several.",
                    ["Reason", "Rows"],
                    quarantine_rows,
                )
            )
    if report_data.noise:
        noise_rows: list[Row] = [
            ([html_text(words_of_identifier(k)), format_number(v, 0)], False)
            for k, v in report_data.noise.items()
        ]
        html_parts.append(
            _table("Accepted, then left out as noise.", ["Filter", "Events"], noise_rows)
        )
    return _section("Data", *html_parts) if html_parts else ""


def step_section(report_data: ReportData) -> str:
    """Duration and memory of each step of the run."""
    if not report_data.steps:
        return ""
    table_rows: list[Row] = [
        (
            [
                html_text(words_of_identifier(s.name)),
                format_number(s.seconds, 1),
                format_number(s.peak_mb, 0),
            ],
            False,
        )
        for s in report_data.steps
    ]
    table_rows.append(
        (
            [
                "Total",
                format_number(sum(s.seconds for s in report_data.steps), 1),
                _peak(report_data),
            ],
            True,
        )
    )
    column_heads = ["Step", "Seconds", "Peak memory, MB"]
    return _section("Steps", _table("Wall time and peak memory.", column_heads, table_rows))


def _peak(report_data: ReportData) -> str:
    return format_number(
        max((s.peak_mb for s in report_data.steps if s.peak_mb is not None), default=None), 0
    )


def card_section(report_data: ReportData) -> str:
    """Texts of the model card."""
    if report_data.card is None:
        return ""
    card_text = report_data.card.model_dump()
    html_parts = [
        f"<h3>{h}</h3><p>{html_text(card_text[k])}</p>" for k, h in CARD_HEADINGS if card_text[k]
    ]
    return _section("Model card", *html_parts) if html_parts else ""
