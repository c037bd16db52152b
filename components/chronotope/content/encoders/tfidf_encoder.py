"""Text encoder without pretrained weights: TF-IDF and a truncated SVD, fitted on the catalogue.

Latent semantic analysis (Deerwester et al. 1990): words of the same texts are near each other.
It knows nothing but the catalogue, needs no download, and is fast.
"""

import hashlib
import io
import json
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Self
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from chronotope.content.encoder import Modality, Vectors, unit_vectors
from chronotope.contracts.errors import ArtifactError, NotEnoughData

NAME: Final = "tfidf"
_VERSION: Final = 1
"""Version of the tokenisation; part of the digest."""

_WORD: Final = r"(?u)\w+"
_UNSPACED_SCRIPTS: Final = re.compile(
    "([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff])"
)
"""Thai, Lao, Burmese, Khmer, Japanese and Chinese write no spaces between words."""


class TfidfConfig(BaseModel):
    """Size of the default text encoder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dim: int = Field(128, ge=1, le=1024, description="Length of the vectors")
    max_terms: int = Field(
        20_000, ge=10, le=200_000, description="Number of words and word pairs, most frequent first"
    )
    min_texts: int = Field(
        2, ge=1, le=100, description="Number of texts in which a term has to occur"
    )


@dataclass(frozen=True)
class TfidfEncoder:
    """Fitted encoder.

    Attributes:
        terms: The vocabulary, in the order of the rows of ``projection``.
        inverse_frequency: Inverse document frequency of each term, shape (n_terms,).
        projection: Right singular vectors, shape (n_terms, dim).
    """

    terms: tuple[str, ...]
    inverse_frequency: npt.NDArray[np.float32]
    projection: npt.NDArray[np.float32]

    name: str = NAME
    modality: Modality = Modality.TEXT

    @classmethod
    def fit(cls, texts: Sequence[str], tfidf_config: TfidfConfig = TfidfConfig()) -> Self:  # noqa: B008 - frozen
        """Fit on texts; equal texts in the same order give an equal encoder.

        Args:
            texts: Cleaned texts; empty ones are ignored.
            tfidf_config: Size of the encoder.

        Raises:
            NotEnoughData: There are no two texts that share a word.
        """
        from sklearn.decomposition import TruncatedSVD  # takes a second to import

        filled_texts = [item_text for item_text in texts if item_text]
        tfidf_vectorizer = _vectorizer(
            max_features=tfidf_config.max_terms, min_df=tfidf_config.min_texts
        )
        try:
            term_weights = tfidf_vectorizer.fit_transform(filled_texts)
        except ValueError as error:  # no text, or no term that is frequent enough
            raise NotEnoughData(
                f"The texts share no words: no term occurs in {tfidf_config.min_texts} of them",
                received=f"{len(filled_texts)} texts",
                way_out="Name other columns under content.text, or another encoder",
            ) from error
        terms = tuple(tfidf_vectorizer.get_feature_names_out().tolist())
        n_components = max(1, min(tfidf_config.dim, len(terms) - 1, len(filled_texts) - 1))
        if len(terms) == 1:
            svd_components = np.ones((1, 1))
        else:
            with warnings.catch_warnings():  # of equal texts the explained variance is 0 / 0
                warnings.simplefilter("ignore", RuntimeWarning)
                svd_components = (
                    TruncatedSVD(n_components, n_iter=7, random_state=0)
                    .fit(term_weights)
                    .components_
                )
        return cls(
            terms,
            np.asarray(tfidf_vectorizer.idf_, dtype=np.float32),
            np.ascontiguousarray(svd_components.T, dtype=np.float32),
        )

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return int(self.projection.shape[1])

    @cached_property
    def digest(self) -> str:
        """Digest of the vocabulary, its weights and the projection."""
        encoder_digest = hashlib.sha256(f"{NAME} {_VERSION}\n".encode())
        encoder_digest.update(json.dumps(self.terms).encode())
        encoder_digest.update(self.inverse_frequency.tobytes())
        encoder_digest.update(self.projection.tobytes())
        return encoder_digest.hexdigest()

    def encode(self, batch: Sequence[str]) -> Vectors:
        """Vectors of texts, shape (n, dim); zero where a text has no known word.

        Args:
            batch: Cleaned texts.
        """
        if not len(batch):
            return np.zeros((0, self.dim), dtype=np.float32)
        return unit_vectors(self._fitted_vectorizer.transform(batch) @ self.projection)

    def to_bytes(self) -> bytes:
        """State, to be stored; ``from_bytes`` reads it."""
        encoder_digest = io.BytesIO()
        np.savez_compressed(
            encoder_digest,
            terms=np.frombuffer(json.dumps(self.terms).encode(), dtype=np.uint8),
            inverse_frequency=self.inverse_frequency,
            projection=self.projection,
        )
        return encoder_digest.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Encoder of a stored state.

        Raises:
            ArtifactError: The state is damaged.
        """
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as state_arrays:
                terms = tuple(json.loads(state_arrays["terms"].tobytes()))
                return cls(terms, state_arrays["inverse_frequency"], state_arrays["projection"])
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
            raise ArtifactError(
                "The stored text encoder is damaged",
                received=error,
                way_out="Fit it again: chronotope embed DATASET --refit",
            ) from error

    @cached_property
    def _fitted_vectorizer(self) -> Any:
        tfidf_vectorizer = _vectorizer(vocabulary=list(self.terms))
        tfidf_vectorizer.idf_ = self.inverse_frequency.astype(np.float64)
        return tfidf_vectorizer


def _vectorizer(**options: object) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(
        preprocessor=_separate_words,
        token_pattern=_WORD,
        ngram_range=(1, 2),
        sublinear_tf=True,
        **options,
    )


def split_words(text: str) -> list[str]:
    """Words in lower case, in their order; single characters where a script has no spaces.

    Args:
        text: Cleaned text.

    Example:
        >>> split_words("Café 咖啡 No. 5")
        ['café', '咖', '啡', 'no', '5']
    """
    return re.findall(_WORD, _separate_words(text))


def _separate_words(text: str) -> str:
    return _UNSPACED_SCRIPTS.sub(r" \1 ", text.casefold())
