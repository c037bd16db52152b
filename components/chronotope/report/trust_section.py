"""Section of the report on trust: the membership audit."""

from chronotope.contracts.escaping import html_text
from chronotope.report.html_parts import Row, estimate, section, table
from chronotope.report.report_data import ReportData


def trust_section(report_data: ReportData) -> str:
    """Membership attacks; nothing where no users were held out."""
    return section("Trust", _membership_table(report_data)) if report_data.attacks else ""


def _membership_table(report_data: ReportData) -> str:
    rows: list[Row] = [
        ([html_text(attack.name), estimate(attack.auc), str(attack.n_users)], False)
        for attack in report_data.attacks
    ]
    caption = (
        "Membership attacks: AUC between users of the training and users held out of it, with the "
        "95 % interval over users; 0.5 is chance."
    )
    return table(caption, ["Attack", "AUC", "Users of each kind"], rows)
