"""TF-IDF terms of texts as padded rows."""

import numpy as np

from chronotope.content.labels.term_features import TermFeatures, text_terms

TEXTS = ["green tea", "green bread", "rye bread bread"]


def test_rows_have_length_one_and_padding_weighs_nothing() -> None:
    features = TermFeatures.fit(TEXTS, max_terms=1_000)
    rows = features.rows([*TEXTS, "", "zzz qqq"])
    np.testing.assert_allclose(np.linalg.norm(rows.weights, axis=1), [1, 1, 1, 0, 0], atol=1e-6)
    assert rows.term_ids.shape == rows.weights.shape


def test_rare_terms_weigh_more_and_repeated_ones_logarithmically() -> None:
    features = TermFeatures.fit(TEXTS, max_terms=1_000)
    (weights,) = (features.rows(["green tea"]).weights,)
    by_term = dict(
        zip(
            (features.terms[i] for i in features.rows(["green tea"]).term_ids[0]),
            weights[0],
            strict=True,
        )
    )
    assert by_term["tea"] > by_term["green"]
    ratio = by_term["tea"] / by_term["green"]
    np.testing.assert_allclose(ratio, (np.log(4 / 2) + 1) / (np.log(4 / 3) + 1), rtol=1e-5)


def test_the_vocabulary_is_bounded_and_the_same_for_equal_texts() -> None:
    assert len(TermFeatures.fit(TEXTS, max_terms=5).terms) == 5
    first, second = (TermFeatures.fit(TEXTS, max_terms=50) for _ in range(2))
    assert first.digest == second.digest
    assert first.digest != TermFeatures.fit(TEXTS[:2], max_terms=50).digest


def test_a_typing_error_shares_parts_with_the_word_and_chinese_is_split() -> None:
    assert len(set(text_terms("chocolate")) & set(text_terms("chocolat"))) > 8
    assert "咖 啡" in set(text_terms("咖啡"))


def test_without_terms_rows_are_zero() -> None:
    rows = TermFeatures.fit(TEXTS, max_terms=0).rows(TEXTS)
    assert not rows.weights.any()
