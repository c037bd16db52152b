"""HTML page of a synthetic log: utility, distributions, privacy."""

from chronotope.contracts.escaping import html_text
from chronotope.report.formatting import format_number
from chronotope.report.html_parts import Row, section, table
from chronotope.report.page import html_document
from chronotope.synthesis.figures import MAX_ATTACK_AUC, MIN_UTILITY, SynthesisFigures


def render_synthesis(figures: SynthesisFigures) -> str:
    """The page.

    Args:
        figures: Figures of a synthetic log; every text in it is escaped.

    Returns:
        A complete HTML document with inline style and no script.
    """
    facts = (
        f"{figures.n_users:,} generated users, {figures.n_events:,} events",
        f"generator {figures.generator}, seed {figures.seed}",
        f"fitted on {figures.n_fitted_users:,} users, {figures.n_fitted_events:,} events",
    )
    body = _verdict(figures) + _utility(figures) + _distances(figures) + _privacy(figures)
    return html_document(f"Chronotope: synthetic log of {figures.dataset}", facts, None, body)


def _verdict(figures: SynthesisFigures) -> str:
    worst = figures.worst_attack
    statements = (
        f"Training on this log reaches {figures.utility_ratio:.0%} of the NDCG@10 of training on "
        f"the real one; the goal is {MIN_UTILITY:.0%}.",
        f"The strongest membership attack ({worst.name}) has an AUC of {worst.auc:.3f}; the "
        f"goal is at most {MAX_ATTACK_AUC}, chance is .5.",
        "These figures are no proof: they are what was tried against this log.",
    )
    items = "".join(f"<li>{html_text(statement)}</li>" for statement in statements)
    return section("In short", f"<ul>{items}</ul>")


def _utility(figures: SynthesisFigures) -> str:
    table_rows: list[Row] = [
        (
            (
                html_text(model_result.trained_on),
                format_number(model_result.acc_1),
                format_number(model_result.ndcg_10),
                format_number(model_result.mrr),
            ),
            model_result.trained_on == "synthetic",
        )
        for model_result in figures.utilities
    ]
    caption = (
        f"{figures.n_test_targets:,} later events of real users, full catalogue, request time "
        "given. The generator saw none of them."
    )
    return section(
        "Train here, test there",
        table(caption, ("Trained on", "Acc@1", "NDCG@10", "MRR"), table_rows),
    )


def _distances(figures: SynthesisFigures) -> str:
    table_rows: list[Row] = [
        (
            (
                html_text(table_row.name),
                format_number(table_row.synthetic),
                format_number(table_row.real),
            ),
            False,
        )
        for table_row in figures.distances
    ]
    caption = (
        "Total variation distance from the users of the fit, 0 to 1: of the generated users, "
        "and of held-out real users, which is what chance gives."
    )
    return section("Distributions", table(caption, ("", "Synthetic", "Held-out users"), table_rows))


def _privacy(figures: SynthesisFigures) -> str:
    nearness = figures.nearness
    near_rows: list[Row] = [
        (
            ("Median distance to the nearest user of the fit", format_number(nearness.to_fitted)),
            False,
        ),
        (
            ("Median distance to the nearest held-out user", format_number(nearness.to_held_out)),
            False,
        ),
        (
            (
                "Share of generated users nearer to the fit",
                format_number(nearness.share_nearer_to_fitted),
            ),
            False,
        ),
        (("Copies of a user of the fit", str(nearness.n_copies)), False),
    ]
    attack_rows: list[Row] = [
        (
            (
                html_text(attack.name),
                format_number(attack.auc),
                f"{format_number(attack.low)} to {format_number(attack.high)}",
            ),
            attack == figures.worst_attack,
        )
        for attack in figures.attacks
    ]
    return section(
        "Privacy",
        table("Distance of items on the same day, 0 to 1", ("", "Value"), near_rows),
        table(
            "Membership attacks: was this person among those of the fit?",
            ("The attacker compares", "AUC", "95 % interval"),
            attack_rows,
        ),
    )
