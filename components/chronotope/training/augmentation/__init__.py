"""Augmentation of a training: changed histories, and users of a generator."""

from chronotope.training.augmentation.config import (
    AUGMENTATIONS,
    AugmentationConfig,
    AugmentationKind,
)

__all__ = ["AUGMENTATIONS", "AugmentationConfig", "AugmentationKind"]
