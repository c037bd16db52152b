"""Section of the report on whole baskets."""

from chronotope.report.next_basket_section import next_basket_section
from chronotope.report.report_data import Estimate, ModelRow, ReportData


def row(name: str, ndcg: float, *, champion: bool = False) -> ModelRow:
    metrics = {"basket_ndcg_10": Estimate(value=ndcg), "basket_recall_20": Estimate(value=0.25)}
    return ModelRow(name=name, metrics=metrics, champion=champion)


def test_models_stand_best_first_and_names_are_escaped(bare: ReportData) -> None:
    rows = (row("tifu<knn", 0.2134), row("chronotope", 0.2251, champion=True))
    html = next_basket_section(bare.model_copy(update={"next_basket": rows}))
    assert html.index("chronotope") < html.index("tifu&lt;knn")
    assert html.index("Recall@20") < html.index("NDCG@10")
    assert "0.225" in html
    assert html.count('class="win"') + html.count("class=win") == 1


def test_a_log_without_baskets_has_no_section(bare: ReportData) -> None:
    assert next_basket_section(bare) == ""
