"""Models of the comparison, with their settings and the source of each setting."""

from dataclasses import dataclass, field
from typing import Any, Final

from chronotope.models.config import BACKBONES

OWN: Final = "own"
LARGE_CATALOGUE: Final = 10_000
"""Items above which settings for large catalogues hold."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the table.

    Attributes:
        env: Environment that runs it: ``own`` or a name of ``environments.ENVIRONMENTS``.
        model: Name of the model in the worker.
        settings: Settings that the worker passes on.
        large: Other settings for a large catalogue.
    """

    env: str
    model: str
    settings: dict[str, Any] = field(default_factory=dict)
    large: dict[str, Any] = field(default_factory=dict)

    def settings_for(self, n_items: int) -> dict[str, Any]:
        """The settings for a catalogue of this size."""
        return self.settings | (self.large if n_items > LARGE_CATALOGUE else {})


_RECBOLE_SEQUENCE: Final = {
    "MAX_ITEM_LIST_LENGTH": 50,
    "loss_type": "CE",
    "learning_rate": 1e-3,
    "train_batch_size": 256,
}
_RECBOLE_SASREC: Final = {
    **_RECBOLE_SEQUENCE,
    "hidden_dropout_prob": 0.2,
    "attn_dropout_prob": 0.2,
}
_RECTOOLS_64: Final = {
    "n_factors": 64,
    "n_blocks": 2,
    "n_heads": 2,
    "session_max_len": 100,
    "batch_size": 16,
}
_ALONE: Final = {"kernels": False, "d_model": 64, "backbone_len": 50}
_SAMPLED: Final = {"loss": "sampled_softmax", "n_negatives": 256}

ROSTER: Final[dict[str, Entry]] = {
    "popularity": Entry(OWN, "popularity"),
    "popularity_7d": Entry(OWN, "popularity_7d"),
    "user_counts": Entry(OWN, "user_counts"),
    "markov": Entry(OWN, "markov"),
    "ease": Entry(OWN, "ease"),
    "implicit_als": Entry(
        "implicit",
        "als",
        {"factors": 64, "regularization": 0.05, "alpha": 2.0, "iterations": 15, "weights": "bm25"},
        {"factors": 128, "regularization": 0.01, "alpha": 1.0, "weights": "counts"},
    ),
    "implicit_bpr": Entry(
        "implicit",
        "bpr",
        {"factors": 63, "learning_rate": 0.01, "regularization": 0.01, "iterations": 100},
    ),
    "recbole_bpr": Entry("recbole", "BPR", {"embedding_size": 64, "learning_rate": 1e-3}),
    "recbole_lightgcn": Entry(
        "recbole",
        "LightGCN",
        {
            "embedding_size": 64,
            "n_layers": 3,
            "reg_weight": 1e-4,
            "learning_rate": 2e-3,
            "train_batch_size": 4096,
        },
    ),
    "recbole_gru4rec": Entry(
        "recbole",
        "GRU4Rec",
        {**_RECBOLE_SEQUENCE, "embedding_size": 64, "hidden_size": 128, "dropout_prob": 0.3},
    ),
    "recbole_sasrec": Entry("recbole", "SASRec", _RECBOLE_SASREC),
    "recbole_sasrec_100": Entry(
        "recbole", "SASRec", {**_RECBOLE_SASREC, "MAX_ITEM_LIST_LENGTH": 100}
    ),
    "rectools_sasrec": Entry("rectools", "sasrec", _RECTOOLS_64, _SAMPLED),
    "rectools_sasrec_256": Entry("rectools", "sasrec", {"batch_size": 16}, _SAMPLED),
    "rectools_bert4rec": Entry("rectools", "bert4rec", _RECTOOLS_64, _SAMPLED),
    "chronotope": Entry(OWN, "chronotope"),
    "chronotope_short": Entry(
        OWN,
        "chronotope",
        {"training": {"max_epochs": 3}},
        {"training": {"max_epochs": 3, "full_softmax_items": LARGE_CATALOGUE}},
    ),
    "chronotope_category_head": Entry(OWN, "chronotope", {"category_head": True}),
    "chronotope_transformer": Entry(
        OWN, "chronotope", {"backbone": "transformer", "d_model": 64, "backbone_len": 100}
    ),
    "chronotope_transformer_short": Entry(
        OWN,
        "chronotope",
        {
            "backbone": "transformer",
            "d_model": 64,
            "backbone_len": 100,
            "training": {"max_epochs": 4},
        },
    ),
    **{
        family: Entry(OWN, "chronotope", {**_ALONE, "backbone": family})
        for family in BACKBONES
        if family != "none"
    },
}
