"""Content vectors of a catalogue's items, and the axes that they are projected on.

Each modality (text, image, sound) has its own axes. The projections of all modalities stand side
by side in one table,

    row_i = [ axes_1' (x_i1 - mean_1) | axes_2' (x_i2 - mean_2) | ... ]

where a modality that an item lacks is zero. Axes belong to one encoder: the vectors of another
encoder are refused, since they have another meaning.
"""

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from chronotope.contracts.errors import ArtifactError, ConfigError

Float32 = npt.NDArray[np.float32]

_HEADER: Final = "header"
"""Array of the file that holds names and encoders, as JSON in UTF-8."""


@dataclass(frozen=True, slots=True)
class ModalityAxes:
    """Axes of one modality.

    Attributes:
        modality: Kind of content, such as ``text``.
        encoder: Name of the encoder and digest of its weights, as the lake stores it.
        mean: Mean of the vectors, float32, shape (d,).
        axes: Axes as columns, float32, shape (d, A).
    """

    modality: str
    encoder: str
    mean: Float32
    axes: Float32

    @property
    def n_axes(self) -> int:
        """Number of axes A."""
        return int(self.axes.shape[1])


@dataclass(frozen=True, slots=True)
class ContentAxes:
    """Axes of all modalities, in the order of the table's columns.

    Attributes:
        parts: One entry a modality, ordered by name.
    """

    parts: tuple[ModalityAxes, ...]

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities."""
        return tuple(modality_axes.modality for modality_axes in self.parts)

    @property
    def encoders(self) -> dict[str, str]:
        """Encoder of each modality."""
        return {modality_axes.modality: modality_axes.encoder for modality_axes in self.parts}

    @property
    def n_axes(self) -> tuple[int, ...]:
        """Number of columns of each modality."""
        return tuple(modality_axes.n_axes for modality_axes in self.parts)

    @property
    def width(self) -> int:
        """Number of columns of the table."""
        return sum(self.n_axes)

    def project(
        self, vectors: Mapping[str, Float32], encoders: Mapping[str, str] | None = None
    ) -> Float32:
        """Rows of the table for some items.

        Args:
            vectors: Vectors by modality, shape (n, d) each; zero rows where an item lacks the
                modality. A modality that is left out is missing for all of them; one without
                axes is ignored.
            encoders: Encoder of each of these vectors; None skips the check.

        Returns:
            float32, shape (n, width).

        Raises:
            ConfigError: Vectors are of another encoder or width than the axes.
        """
        self._check(vectors, encoders)
        n_items = max((len(item_rows) for item_rows in vectors.values()), default=0)
        axis_blocks = [np.zeros((n_items, 0), np.float32)]
        for modality_axes in self.parts:
            item_rows = vectors.get(modality_axes.modality)
            if item_rows is None:
                axis_blocks.append(np.zeros((n_items, modality_axes.n_axes), np.float32))
                continue
            is_present = item_rows.any(axis=1, keepdims=True)  # (n, 1)
            axis_blocks.append(
                ((item_rows - modality_axes.mean) * is_present @ modality_axes.axes).astype(
                    np.float32
                )
            )
        return np.concatenate(axis_blocks, axis=1)

    def select(self, modalities: Sequence[str]) -> Self:
        """Axes of some modalities; empty selects all.

        Args:
            modalities: Names; those without axes are ignored.
        """
        if not modalities:
            return self
        return type(self)(
            tuple(
                modality_axes
                for modality_axes in self.parts
                if modality_axes.modality in modalities
            )
        )

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Names, encoders and axes as arrays, for ``from_arrays``."""
        axes_header = [
            {"modality": modality_axes.modality, "encoder": modality_axes.encoder}
            for modality_axes in self.parts
        ]
        stored_arrays: dict[str, npt.NDArray[np.generic]] = {
            _HEADER: np.frombuffer(json.dumps(axes_header).encode(), np.uint8)
        }
        for part_idx, modality_axes in enumerate(self.parts):
            stored_arrays |= {
                f"mean_{part_idx}": modality_axes.mean,
                f"axes_{part_idx}": modality_axes.axes,
            }
        return stored_arrays

    @classmethod
    def from_arrays(cls, stored_arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Axes from the arrays of ``arrays``; others are ignored.

        Args:
            stored_arrays: Arrays by name.
        """
        axes_header = json.loads(stored_arrays[_HEADER].tobytes())
        return cls(
            tuple(
                ModalityAxes(
                    str(header_entry["modality"]),
                    str(header_entry["encoder"]),
                    stored_arrays[f"mean_{part_idx}"],
                    stored_arrays[f"axes_{part_idx}"],
                )
                for part_idx, header_entry in enumerate(axes_header)
            )
        )

    def save(self, file_path: Path) -> None:
        """Write a file without pickles.

        Args:
            file_path: The file, ending in ``.npz``.
        """
        with file_path.open("wb") as file:
            np.savez(file, **self.arrays())  # type: ignore[arg-type]

    @classmethod
    def load(cls, file_path: Path) -> Self:
        """Read a file that ``save`` wrote.

        Args:
            file_path: The file.

        Raises:
            ArtifactError: The file is missing or damaged.
        """
        try:
            with file_path.open("rb") as file, np.load(file, allow_pickle=False) as stored_arrays:
                return cls.from_arrays(stored_arrays)
        except (
            OSError,
            EOFError,
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            zipfile.BadZipFile,
        ) as error:
            raise ArtifactError(
                "The axes of the items' content cannot be read",
                received=f"{file_path}: {error}",
                way_out="Restore the file from a copy, or train again",
            ) from error

    def _check(self, vectors: Mapping[str, Float32], encoders: Mapping[str, str] | None) -> None:
        """Refuse vectors of another encoder or width."""
        for modality_axes in self.parts:
            item_rows = vectors.get(modality_axes.modality)
            encoder = (
                modality_axes.encoder
                if encoders is None
                else encoders.get(modality_axes.modality, "")
            )
            if item_rows is None or (
                encoder == modality_axes.encoder and item_rows.shape[1] == len(modality_axes.mean)
            ):
                continue
            raise ConfigError(
                f"The {modality_axes.modality} vectors are not those the model was trained with",
                received=f"{encoder or 'unknown encoder'}, {item_rows.shape[1]} numbers; the model "
                f"reads {modality_axes.encoder}, {len(modality_axes.mean)} numbers",
                way_out="Encode the items with the model's encoder, or train a new model",
            )


@dataclass(frozen=True, slots=True)
class ItemContent:
    """Content of a catalogue's items.

    Attributes:
        axes: Axes of the table.
        vectors: Table of the items, float32, shape (n_items, axes.width); zero where an item
            lacks a modality, and at index 0.
    """

    axes: ContentAxes
    vectors: Float32

    def select(self, modalities: Sequence[str]) -> Self:
        """Content of some modalities; empty selects all.

        Args:
            modalities: Names; those that the items lack are ignored.
        """
        if not modalities:
            return self
        is_selected = np.repeat(
            [name in modalities for name in self.axes.modalities], self.axes.n_axes
        ).astype(np.bool_)
        return type(self)(self.axes.select(modalities), self.vectors[:, is_selected])

    def unit_blocks(self) -> Float32:
        """The table with each modality of an item scaled to length 1, same shape."""
        axis_blocks = [np.zeros((len(self.vectors), 0), np.float32)]
        block_boundaries = np.cumsum(self.axes.n_axes)[:-1]
        for vector_block in np.split(self.vectors, block_boundaries, axis=1):
            row_length = np.linalg.norm(vector_block, axis=1, keepdims=True)
            axis_blocks.append(vector_block / np.maximum(row_length, 1e-12).astype(np.float32))
        return np.concatenate(axis_blocks, axis=1)
