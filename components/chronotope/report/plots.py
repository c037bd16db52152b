"""Charts of the report as standalone SVG files."""

from pathlib import Path

from chronotope.report import pareto_chart, svg_charts
from chronotope.report.formatting import metric_label
from chronotope.report.report_data import ReportData
from chronotope.report.style import CSS
from chronotope.runtime.durable_files import write_text


def write_plots(report_data: ReportData, plot_dir: Path) -> list[Path]:
    """Write each drawing the report has data for as ``<name>.svg``.

    Args:
        report_data: What the report shows.
        plot_dir: Where to write; made if missing.

    Returns:
        The files written.
    """
    plot_dir.mkdir(parents=True, exist_ok=True)
    written_paths = []
    for name, svg_html in _drawings(report_data).items():
        plot_path = plot_dir / f"{name}.svg"
        write_text(plot_path, _standalone(svg_html))
        written_paths.append(plot_path)
    return written_paths


def _drawings(report_data: ReportData) -> dict[str, str]:
    svg_by_name: dict[str, str] = {}
    metric_name = report_data.main_metric
    model_bars = [
        (m.name, m.metrics[metric_name].value, m.champion)
        for m in report_data.models
        if metric_name in m.metrics
    ]
    if model_bars:
        ranked_bars = sorted(model_bars, key=lambda row: -row[1])
        svg_by_name["accuracy"] = svg_charts.bar_chart(
            ranked_bars, f"{metric_label(metric_name)} by model"
        )
    if report_data.when is not None and report_data.when.pit_counts:
        svg_by_name["when_calibration"] = svg_charts.histogram(
            report_data.when.pit_counts, "Predicted probability"
        )
    if report_data.when is not None and report_data.when.coverage:
        svg_by_name["when_coverage"] = svg_charts.reliability_diagram(
            report_data.when.coverage, "Actual against nominal"
        )
    svg_by_name |= pareto_chart.cost_charts(report_data)
    if report_data.map_points:
        svg_by_name["map"] = svg_charts.scatter_map(report_data.map_points, "Targets by hit rate")
    return svg_by_name


def _standalone(svg_html: str) -> str:
    """Standalone SVG document of an inline drawing, with its colours and background."""
    style_html = f"<style>{CSS} svg{{background:var(--card)}}</style>"
    svg_head = '<svg xmlns="http://www.w3.org/2000/svg"'
    return svg_html.replace("<svg", svg_head, 1).replace(">", f">{style_html}", 1)
