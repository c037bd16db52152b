"""Section of the report on whole baskets."""

from chronotope.contracts.escaping import html_text
from chronotope.report.formatting import metric_label, metric_order
from chronotope.report.html_parts import estimate, section, table
from chronotope.report.report_data import Estimate, ReportData

_ORDERED_BY = "basket_ndcg_10"


def next_basket_section(report_data: ReportData) -> str:
    """Table of how much of the next basket each model lists, best first."""
    if not report_data.next_basket:
        return ""
    metric_names = metric_order(row.metrics for row in report_data.next_basket)
    lowest = Estimate(value=0.0)
    ranked_models = sorted(
        report_data.next_basket,
        key=lambda row: row.metrics.get(_ORDERED_BY, lowest).value,
        reverse=True,
    )
    table_rows = [
        (
            [html_text(row.name), *(estimate(row.metrics.get(name)) for name in metric_names)],
            row.champion,
        )
        for row in ranked_models
    ]
    caption = (
        "Share of the items of a basket that are listed, and NDCG over the whole basket; each "
        "basket counts once. Repeats are items that the user had before."
    )
    column_heads = ["Model", *map(metric_label, metric_names)]
    return section("Next basket", table(caption, column_heads, table_rows))
