"""The report and the card state the membership attacks, and nothing without an audit."""

from datetime import UTC, datetime

from chronotope.report.model_card import render_card
from chronotope.report.page import render_report
from chronotope.report.report_data import AttackRow, Estimate, FederationRow, ReportData


def data(*attacks: AttackRow) -> ReportData:
    return ReportData(
        dataset="city",
        data_version="1",
        protocol="p",
        seed=0,
        generated_at=datetime(2026, 1, 1, tzinfo=UTC),
        attacks=attacks,
    )


def test_attacks_are_shown_with_interval_and_number_of_users() -> None:
    auc = Estimate(value=0.712, low=0.65, high=0.78)
    shown = data(AttackRow(name="loss <threshold>", auc=auc, n_users=41))
    page, card = render_report(shown), render_card(shown)
    assert "<h2>Trust</h2>" in page
    assert "loss &lt;threshold&gt;" in page
    assert "0.712" in page
    assert ">41<" in page
    assert "AUC 0.712 (0.650 to 0.780), 41 members and as many held-out users" in card


def test_without_an_audit_nothing_is_claimed() -> None:
    assert "Trust" not in render_report(data())
    assert "Membership" not in render_card(data())


def test_rounds_of_a_federation_are_shown_with_who_did_not_answer() -> None:
    rows = [
        FederationRow(name="train round 0", n_answers=3, failures="1 x <late>", later_loss=7.2007,
                      mb_per_client=0.39),
        FederationRow(name="later round 0", n_answers=4, failures="", later_loss=None,
                      mb_per_client=0.39),
    ]  # fmt: skip
    text = "Federated: 4 clients, <FedAvg>."
    shown = data().model_copy(update={"federation": text, "federation_rounds": tuple(rows)})
    page = render_report(shown)
    assert all(
        part in page for part in ("4 clients, &lt;FedAvg&gt;.", "7.2007", "1 x &lt;late&gt;")
    )
    assert "&amp;" not in page
    assert "Federated" not in render_report(data())
