from chronotope.report.model_card import render_card
from chronotope.report.report_data import ReportData


def test_card_shows_the_champion(full: ReportData) -> None:
    card = render_card(full)
    assert card.startswith("# Model card: spacetime on nyc\n")
    assert "| NDCG@10 | 0.512 | 0.501 to 0.523 |" in card
    assert "0.041" not in card
    assert "- Generated: 2024-05-01 12:30:00 UTC" in card


def test_card_order(full: ReportData) -> None:
    heads = [line[3:] for line in render_card(full).splitlines() if line.startswith("## ")]
    assert heads == ["Intended use", "Metrics", "Gate", "Limits", "Ethics"]


def test_card_without_optional_parts(bare: ReportData) -> None:
    assert "##" not in render_card(bare)


def test_card_carries_no_foreign_markup(bare: ReportData) -> None:
    card = render_card(bare.model_copy(update={"dataset": "<b>x</b>\n# head [a](b)|"}))
    assert card.splitlines()[0] == (
        r"# Model card: model on &lt;b&gt;x&lt;/b&gt; \# head \[a\](b)\|"
    )
