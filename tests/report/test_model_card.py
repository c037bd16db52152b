from chronotope.contracts.escaping import markdown_text
from chronotope.report.model_card import render_card
from chronotope.report.page import render_report
from chronotope.report.report_data import CardText, DependenceCurve, ReportData
from chronotope.report.responsibility.data_card import render_data_card


def test_card_shows_the_champion(full: ReportData) -> None:
    card = render_card(full)
    assert card.startswith("# Model card: spacetime on nyc\n")
    assert "| NDCG@10 | 0.512 | 0.501 to 0.523 |" in card
    assert "0.041" not in card
    assert "- Generated: 2024-05-01 12:30:00 UTC" in card


def test_card_order(full: ReportData) -> None:
    heads = [line[3:] for line in render_card(full).splitlines() if line.startswith("## ")]
    assert heads == ["Intended use", "Metrics", "Gate", "Limits", "Ethics"]


def test_every_text_of_the_card_is_shown(full: ReportData) -> None:
    texts = {name: f"about {name}" for name in CardText.model_fields}
    data = full.model_copy(update={"card": CardText(**texts)})
    card, page = render_card(data), render_report(data)
    for text in texts.values():
        assert markdown_text(text) in card
        assert text in page


def test_the_data_card_counts_what_was_left_out(full: ReportData) -> None:
    data = full.model_copy(update={"data_facts": {"Licence": "CC0 <b>"}})
    card = render_data_card(data)
    assert card.startswith("# Data card: nyc\n")
    assert "- Licence: CC0 &lt;b&gt;" in card
    assert "- Quarantined: 3\n  - swapped: 3" in card
    assert "  - duplicates: 5" in card


def test_dependences_are_drawn(full: ReportData) -> None:
    curve = DependenceCurve(
        quantity="hour", steps=("00:00", "12:00"), lines={"own <x>": (0.2, None)}, note="n < 3"
    )
    page = render_report(full.model_copy(update={"dependences": (curve,)}))
    assert 'aria-label="Probability by hour"' in page
    assert "own &lt;x&gt;" in page
    assert "What the predictions depend on" not in render_report(full)


def test_card_without_optional_parts(bare: ReportData) -> None:
    assert "##" not in render_card(bare)


def test_card_carries_no_foreign_markup(bare: ReportData) -> None:
    card = render_card(bare.model_copy(update={"dataset": "<b>x</b>\n# head [a](b)|"}))
    assert card.splitlines()[0] == (
        r"# Model card: model on &lt;b&gt;x&lt;/b&gt; \# head \[a\](b)\|"
    )
