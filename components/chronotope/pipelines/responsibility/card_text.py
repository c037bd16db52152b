"""Texts of the model card: use, data, groups, limits, privacy, oversight and energy."""

from collections.abc import Mapping
from typing import Final

from chronotope.pipelines.results import FeatureSnapshot
from chronotope.report.report_data import CardText
from chronotope.runtime.step_cache import StepCost

POWER_W: Final = 65.0
"""Assumed power of the machine while a step runs, for the estimate of the energy."""

MIN_GROUP_TARGETS: Final = 20
"""Groups with fewer targets are not shown: their accuracy is noise, and may tell of one person."""

GROUPS: Final = {
    "return": "items the user had before",
    "discovery": "items new to the user",
    "cold_user": "users with few events",
    "warm_user": "users with many events",
    "cold_item": "rare items",
    "warm_item": "frequent items",
}


def card_text(
    dataset: str,
    features: FeatureSnapshot,
    metrics: Mapping[str, float],
    costs: Mapping[str, StepCost],
) -> CardText:
    """Texts of the card of one training.

    Args:
        dataset: Name of the dataset.
        features: Feature snapshot of the training.
        metrics: Metrics of the challenger on the holdout.
        costs: Costs of the finished steps.
    """
    return CardText(
        intended_use=(
            "Rank what a user does next, when and where, from the user's own log. Not for "
            "decisions about persons, such as credit, insurance, employment or policing, and not "
            "for inferring attributes of persons."
        ),
        training_data=(
            f"{dataset}, {features.data_version}: {features.n_kept:,} events, "
            f"{features.n_users:,} users, {features.n_items:,} items. See data_card.md."
        ),
        metrics=(
            f"NDCG@10 {metrics['ndcg_10']:.3f} on {int(metrics['n_targets']):,} later targets."
        ),
        groups=group_text(metrics),
        limits=(
            "Items without events are ranked by their content, if the catalogue has any, and "
            "otherwise not at all; cold-start users get what is popular. Accuracy on later events "
            "is not the effect of recommending, which an experiment measures."
        ),
        ethics="Own history dominates the scores; watch exposure of rare items and of groups.",
        privacy=(
            "The bundle holds the ids of users and items, and counts over all users without noise. "
            "A query holds the history of one user. 'chronotope forget' removes a user and names "
            "the versions that were trained with the user."
        ),
        oversight=(
            "The gate decides on promotion; 'chronotope promote' and 'rollback' change the "
            "champion by hand; 'chronotope audit list' says who did so, when and why. "
            "'GET /explain' names the events behind a recommendation."
        ),
        energy=energy_text(costs),
    )


def group_text(metrics: Mapping[str, float]) -> str:
    """Accuracy by group of targets, with the number of targets.

    Args:
        metrics: Metrics of the challenger on the holdout.
    """
    parts = [
        f"{label} {metrics[f'{name}_acc_10']:.3f} ({int(metrics[f'n_{name}']):,})"
        for name, label in GROUPS.items()
        if metrics.get(f"n_{name}", 0) >= MIN_GROUP_TARGETS and f"{name}_acc_10" in metrics
    ]
    measured = f"Acc@10 (targets): {', '.join(parts)}. " if parts else ""
    return (
        f"{measured}Groups of fewer than {MIN_GROUP_TARGETS} targets, and by attributes of users, "
        "are not shown."
    )


def energy_text(costs: Mapping[str, StepCost]) -> str:
    """Time of the steps and an estimate of their energy; "" without costs.

    Args:
        costs: Costs of the finished steps.
    """
    seconds = sum(cost.seconds for cost in costs.values())
    if not seconds:
        return ""
    return (
        f"The steps took {seconds:,.0f} s. At {POWER_W:.0f} W, an assumption about the machine and "
        f"no measurement, that is {seconds * POWER_W / 3600:,.1f} Wh."
    )
