"""Configuration of a text classifier."""

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field


class TextClassifierConfig(BaseModel):
    """Sizes and hyper-parameters of a text classifier."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    backbone: Literal["auto", "minilm", "own"] = Field(
        "auto",
        description="Transformer: minilm (English, pretrained, its last layers are trained), own "
        "(small, any language, trained from scratch), or auto: minilm where it is installed",
    )
    trained_layers: int = Field(
        2, ge=1, le=6, description="Last layers of minilm that are trained; the others are frozen"
    )
    dim: int = Field(128, ge=16, le=512, description="Width of the own Transformer")
    n_layers: int = Field(2, ge=1, le=6, description="Layers of the own Transformer")
    n_heads: int = Field(4, ge=1, le=16, description="Attention heads of the own Transformer")
    max_pieces: int = Field(
        8_000, ge=100, le=100_000, description="Words and parts of words of the own Transformer"
    )
    max_terms: int = Field(
        20_000, ge=0, le=200_000, description="TF-IDF terms beside the Transformer; 0 for none"
    )
    max_tokens: int = Field(64, ge=8, le=256, description="Tokens after which a text is cut")
    max_texts: int = Field(
        20_000, ge=100, le=200_000, description="Different texts that are learned, at random"
    )
    max_epochs: int | None = Field(
        None, ge=1, le=200, description="Maximum number of passes; null: 5 with minilm, 12 with own"
    )
    patience: int = Field(
        3, ge=1, le=50, description="Epochs without a better macro-F1 before training stops"
    )
    batch_size: int = Field(64, ge=4, le=1024, description="Texts of a training step")
    learning_rate: float | None = Field(
        None,
        gt=0,
        le=0.1,
        description="Peak learning rate of the Transformer; null: 3e-4 with minilm, 1e-3 with own",
    )
    head_learning_rate: float = Field(
        5e-3, gt=0, le=1.0, description="Peak learning rate of the output layer"
    )
    term_learning_rate: float | None = Field(
        None,
        gt=0,
        le=1.0,
        description="Peak learning rate of the TF-IDF terms; null: 5e-3 with minilm, 5e-2 with own",
    )
    weight_decay: float = Field(1e-2, ge=0, le=1.0, description="Weight decay of AdamW")
    dropout: float = Field(0.1, ge=0, lt=1, description="Dropout of the Transformer and the head")
    label_smoothing: float = Field(
        0.05, ge=0, lt=0.5, description="Share of a target's weight spread over all labels"
    )
    class_balance: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Exponent of the labels' weights: 0 weighs texts alike, 1 labels alike",
    )
    validation_share: float = Field(
        0.2, gt=0, lt=0.5, description="Share of the labelled items that selects the epoch"
    )
    min_label_items: int = Field(
        5, ge=2, le=1000, description="Items that a label needs in order to be learned"
    )
    seed: int = Field(0, ge=0, description="Seed of the split, the weights and the order")

    def for_backbone(self, *, is_pretrained: bool) -> "TextClassifierConfig":
        """The same configuration with the defaults that depend on the Transformer.

        Args:
            is_pretrained: Whether the Transformer is minilm.
        """
        defaults = _PRETRAINED if is_pretrained else _OWN
        return self.model_copy(
            update={name: value for name, value in defaults.items() if getattr(self, name) is None}
        )


# A Transformer that learns from nothing needs larger steps, and leans on the terms.
_PRETRAINED: Final = {"max_epochs": 5, "learning_rate": 3e-4, "term_learning_rate": 5e-3}
_OWN: Final = {"max_epochs": 12, "learning_rate": 1e-3, "term_learning_rate": 5e-2}
