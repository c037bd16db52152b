"""Section of the report on trust: membership attacks, groups of users, exposure of items."""

from chronotope.contracts.escaping import html_text
from chronotope.report.formatting import format_number
from chronotope.report.html_parts import Row, estimate, section, table
from chronotope.report.report_data import ReportData


def trust_section(report_data: ReportData) -> str:
    """Tables of what was measured; nothing where nothing was."""
    tables = "".join(
        (
            _federation_table(report_data),
            _group_table(report_data),
            _exposure_table(report_data),
            _membership_table(report_data),
        )
    )
    return section("Trust", tables) if tables else ""


def _federation_table(report_data: ReportData) -> str:
    rows: list[Row] = [
        (
            [
                html_text(row.name),
                str(row.n_answers),
                html_text(row.failures),
                "" if row.later_loss is None else format_number(row.later_loss, 4),
                format_number(row.mb_per_client, 3),
            ],
            False,
        )
        for row in report_data.federation_rounds
    ]
    caption = (
        f"{report_data.federation} Later loss: of the parameters at the start of the round, on the "
        "clients' later targets, nats."
    )
    header = ["Round", "Answers", "Without an answer", "Later loss", "MB a client"]
    return table(caption, header, rows) if rows else ""


def _group_table(report_data: ReportData) -> str:
    rows: list[Row] = [
        (
            [
                html_text(f"{group.attribute}: {group.level}"),
                format_number(group.n_users, 0),
                estimate(group.ndcg_10),
                estimate(group.overconfidence),
            ],
            False,
        )
        for group in report_data.groups
    ]
    caption = (
        f"Groups of at least {report_data.min_group_users} users among the targets. "
        "Overconfidence: mean probability of the first item minus its share of hits."
    )
    return table(caption, ["Group", "Users", "NDCG@10", "Overconfidence"], rows) if rows else ""


def _exposure_table(report_data: ReportData) -> str:
    rows: list[Row] = [
        ([html_text(row.name), estimate(row.value)], False) for row in report_data.exposure
    ]
    caption = (
        "Exposure of items in lists of ten; a position r counts 1 / log2(1 + r). The tail are all "
        "items but the fifth with the most events."
    )
    return table(caption, ["Exposure", "Value"], rows) if rows else ""


def _membership_table(report_data: ReportData) -> str:
    rows: list[Row] = [
        ([html_text(attack.name), estimate(attack.auc), str(attack.n_users)], False)
        for attack in report_data.attacks
    ]
    caption = (
        "Membership attacks: AUC between users of the training and users held out of it, with the "
        "95 % interval over users; 0.5 is chance."
    )
    return table(caption, ["Attack", "AUC", "Users of each kind"], rows) if rows else ""
