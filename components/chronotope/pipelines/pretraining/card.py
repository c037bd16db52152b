"""Card of a pretrained checkpoint: which logs it saw, under which licences, and how it was made."""

from collections.abc import Iterable

from chronotope.pipelines.pretraining.results import PretrainingSource
from chronotope.pipelines.pretraining.settings import PretrainSettings


def card_text(sources: Iterable[PretrainingSource], settings: PretrainSettings) -> str:
    """Card as Markdown.

    Args:
        sources: The logs.
        settings: Network and training.
    """
    rows = [
        f"| {source.dataset} | {source.licence or 'not stated'} | {source.n_events:,} | "
        f"{source.n_users:,} | {source.n_items:,} |"
        for source in sources
    ]
    training, model = settings.training, settings.model
    return "\n".join(
        [
            "# Pretrained network",
            "",
            "Kernels, gates and heads of one network that was trained over several logs at once. It"
            " holds no id, category, coordinate or text of any of them. Of each log it saw the "
            f"first {settings.holdout_quantile:.0%} of the events.",
            "",
            "| log | licence | events | users | items |",
            "|---|---|---|---|---|",
            *rows,
            "",
            f"Network: {model.family}, {model.n_hidden} hidden units, "
            f"{model.n_components} lognormal components.",
            f"Training: at most {training.max_epochs} passes over {training.max_targets:,} targets "
            f"of each log, batches of {training.batch_size}, peak learning rate "
            f"{training.learning_rate:g}, balance of the logs {settings.balance:g}, "
            f"seed {training.seed}.",
            "",
            "Meant as the start of a training on another log, or for a first model without one. "
            "Logs of other kinds than these may need a training from scratch.",
            "",
        ]
    )
