"""The report's drawings as files of their own, for whoever shows images."""

from pathlib import Path

from chronotope.report import pareto_chart, svg_charts
from chronotope.report.formatting import metric_label
from chronotope.report.report_data import ReportData
from chronotope.report.style import CSS
from chronotope.runtime.durable_files import write_text


def write_plots(data: ReportData, folder: Path) -> list[Path]:
    """Write each drawing the report has data for as ``<name>.svg``.

    Args:
        data: What the report shows.
        folder: Where to write; made if missing.

    Returns:
        The files written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, svg in _drawings(data).items():
        path = folder / f"{name}.svg"
        write_text(path, _standalone(svg))
        written.append(path)
    return written


def _drawings(data: ReportData) -> dict[str, str]:
    found: dict[str, str] = {}
    metric = data.main_metric
    rows = [
        (m.name, m.metrics[metric].value, m.champion) for m in data.models if metric in m.metrics
    ]
    if rows:
        ranked = sorted(rows, key=lambda row: -row[1])
        found["accuracy"] = svg_charts.bar_chart(ranked, f"{metric_label(metric)} by model")
    if data.when is not None and data.when.pit_counts:
        found["when_calibration"] = svg_charts.histogram(
            data.when.pit_counts, "Predicted probability"
        )
    if data.when is not None and data.when.coverage:
        found["when_coverage"] = svg_charts.reliability_diagram(
            data.when.coverage, "Actual against nominal"
        )
    found |= pareto_chart.cost_charts(data)
    if data.map_points:
        found["map"] = svg_charts.scatter_map(data.map_points, "Targets by share predicted right")
    return found


def _standalone(svg: str) -> str:
    """An inline drawing as a document that brings its colours and ground along."""
    style = f"<style>{CSS} svg{{background:var(--card)}}</style>"
    head = '<svg xmlns="http://www.w3.org/2000/svg"'
    return svg.replace("<svg", head, 1).replace(">", f">{style}", 1)
