"""Baseline of text classifiers: TF-IDF of words and word pairs, and logistic regression."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Self

import numpy as np
import numpy.typing as npt

from chronotope.metrics.classification import macro_f1

PENALTIES: Final = (1.0, 3.0, 10.0, 30.0, 100.0)
"""Inverse strengths of the penalty, of which the best one on the validation texts is taken."""

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating]
Analyzer = Literal["word", "char_wb"]

_NGRAMS: Final[dict[Analyzer, tuple[int, int]]] = {"word": (1, 2), "char_wb": (2, 4)}


@dataclass(frozen=True)
class TfidfBaseline:
    """Fitted baseline.

    Attributes:
        vectorizer: TF-IDF vectoriser of scikit-learn.
        model: Logistic regression of scikit-learn.
        description: Chosen hyper-parameters.
    """

    vectorizer: Any
    model: Any
    description: str

    @classmethod
    def fit(
        cls,
        train: tuple[Sequence[str], Integers, Floats],
        validation: tuple[Sequence[str], Integers, Floats],
        *,
        analyzer: Analyzer = "word",
        penalties: Sequence[float] = PENALTIES,
    ) -> Self:
        """Fit each penalty, with and without balanced labels; the best macro-F1 is taken.

        Args:
            train: Texts, their labels and weights.
            validation: The same, to choose the penalty.
            analyzer: Words and word pairs, or parts of words.
            penalties: Inverse strengths of the penalty.
        """
        from sklearn.feature_extraction.text import TfidfVectorizer

        tfidf_vectorizer = TfidfVectorizer(
            analyzer=analyzer,
            ngram_range=_NGRAMS[analyzer],
            token_pattern=r"(?u)\w+" if analyzer == "word" else None,
            sublinear_tf=True,
        )
        train_features = tfidf_vectorizer.fit_transform(train[0])
        valid_features = tfidf_vectorizer.transform(validation[0])
        best_fit = best_logistic_regression(
            (train_features, *train[1:]), (valid_features, *validation[1:]), penalties
        )
        return cls(tfidf_vectorizer, *best_fit)

    def predict(self, texts: Sequence[str]) -> Integers:
        """Label of each text, shape (n,).

        Args:
            texts: Cleaned texts.
        """
        return np.asarray(self.model.predict(self.vectorizer.transform(texts)), dtype=np.int64)


def best_logistic_regression(
    train: tuple[Any, Integers, Floats],
    validation: tuple[Any, Integers, Floats],
    penalties: Sequence[float] = PENALTIES,
) -> tuple[Any, str]:
    """Logistic regression with the best macro-F1 on the validation rows, and its description.

    Args:
        train: Features (n, d), labels and weights.
        validation: The same, to choose the penalty.
        penalties: Inverse strengths of the penalty.
    """
    from sklearn.linear_model import LogisticRegression

    best_fit: tuple[float, Any, str] = (-1.0, None, "")
    for class_weight in (None, "balanced"):
        for inverse_penalty in penalties:
            regression_model = LogisticRegression(
                C=inverse_penalty, class_weight=class_weight, max_iter=200, tol=1e-3
            ).fit(train[0], train[1], sample_weight=train[2])
            predicted_idx = np.asarray(regression_model.predict(validation[0]), dtype=np.int64)
            validation_score = macro_f1(
                validation[1], predicted_idx, weights=np.asarray(validation[2], np.float64)
            )
            if validation_score > best_fit[0]:
                best_fit = (
                    validation_score,
                    regression_model,
                    f"C={inverse_penalty:g}, class_weight={class_weight}",
                )
    return best_fit[1], best_fit[2]
