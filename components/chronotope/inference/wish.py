"""Wishes in words, such as "quiet places for lunch": items whose content is like them.

The wish is encoded by the encoder of the items' texts. An item gets

    item_scores'_i = item_scores_i + WISH_WEIGHT (cosine_i - mean) / deviation

over the items with content, so that the scale of an encoder does not matter: what the user would
choose anyway still counts among the items that are like the wish.
"""

from threading import Lock
from typing import Final

import numpy as np

from chronotope.content.encoder import Encoder, Modality, encoder_id
from chronotope.content.fitted_encoder import stored_fitted_encoder
from chronotope.contracts.errors import ConfigError
from chronotope.contracts.event_log import Float32
from chronotope.inference.item_likeness import ItemLikeness
from chronotope.inference.request import RecommendOptions
from chronotope.lake import Lake
from chronotope.runtime.workspace import Workspace

WISH_WEIGHT: Final = 2.0
"""Weight of a standard deviation of the cosine, in nats."""


def require_full_scores(options: RecommendOptions) -> None:
    """Refuse a wish for a model whose items are ranked by an index.

    Raises:
        ConfigError: There is a wish.
    """
    if options.wish is not None:
        raise ConfigError(
            "A large catalogue that is ranked by an index takes no wish",
            received=options.wish,
            way_out="Leave the wish out, or serve a model that scores all items",
        )


class WishScorer:
    """Scores of items by a wish; encoders are opened at the first one and reused."""

    def __init__(self, workspace: Workspace, dataset: str) -> None:
        """Open nothing yet.

        Args:
            workspace: Folders of the project.
            dataset: The dataset.
        """
        self._lake = Lake(workspace.lake(dataset))
        self._cache_dir, self._lock = workspace.cache(), Lock()
        self._encoder_by_id: dict[str, Encoder] = {}

    def scores(self, wish: str, likeness: ItemLikeness | None) -> Float32:
        """Addition to the score of each item, shape (n_items,).

        Args:
            wish: The text.
            likeness: Content of the items; None if they have none.

        Raises:
            ConfigError: The items have no texts, their encoder cannot be opened, or no word of the
                wish is known to it.
        """
        identity = "" if likeness is None else likeness.encoders.get(Modality.TEXT.value, "")
        if likeness is None or not identity:
            raise ConfigError(
                "A wish needs items with encoded texts",
                received="items without content",
                way_out="Configure items.content.text in the dataset's YAML, then run "
                "`chronotope embed`, or leave the wish out",
            )
        vector = self._encoder(identity).encode([wish])  # (1, d)
        if not vector.any():
            raise ConfigError(
                "The text encoder knows no word of the wish",
                received=wish,
                way_out="Use words of the items' texts",
            )
        cosine = likeness.cosines({Modality.TEXT.value: vector})  # (n_items,)
        has_content = likeness.vectors.any(axis=1)
        present = cosine[has_content]
        deviation = max(float(present.std()), 1e-6)
        item_scores = WISH_WEIGHT * (cosine - present.mean()) / deviation
        return np.where(has_content, item_scores, 0.0).astype(np.float32)

    def _encoder(self, identity: str) -> Encoder:
        """Encoder of an identity, of the lake or of an installed package."""
        with self._lock:
            if identity not in self._encoder_by_id:
                self._encoder_by_id[identity] = self._open(identity)
            return self._encoder_by_id[identity]

    def _open(self, identity: str) -> Encoder:
        from chronotope.content.encoders.open_encoder import open_pretrained  # takes a second

        encoder: Encoder | None = stored_fitted_encoder(self._lake, identity)
        if encoder is None:
            encoder = open_pretrained(identity.split("@")[0], Modality.TEXT, self._cache_dir)
        if encoder_id(encoder) != identity:
            raise ConfigError(
                "The installed text encoder is another than that of the items",
                received=encoder_id(encoder),
                way_out=f"Install the encoder {identity}, or run `chronotope embed` again",
            )
        return encoder
