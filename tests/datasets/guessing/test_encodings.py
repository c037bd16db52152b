"""Encodings: marks and UTF-8 are certain, code pages are guesses that say so."""

import pytest

from chronotope.datasets.guessing.encodings import guess_encoding

CHINESE = "用户,商品,时间\n张三,咖啡,2024/03/04\n李四,面包,2024/03/05\n" * 5
JAPANESE = "会員,商品,時刻\n田中さん,コーヒー,2024年3月4日\n鈴木,パン,2024年3月5日\n" * 5
RUSSIAN = "пользователь;товар;время\nиван;кофе;04.03.2024\n" * 5  # noqa: RUF001
GERMAN = "Kunde;Artikel;Zeit\nMüller;Brötchen;04.03.2024\nGroß;Käse;05.03.2024\n" * 5


@pytest.mark.parametrize(
    ("text", "encoding", "expected"),
    [
        (GERMAN, "utf-8", "utf-8"),
        (GERMAN, "utf-8-sig", "utf-8"),
        (GERMAN, "utf-16", "utf-16"),
        (GERMAN, "utf-16-le", "utf-16-le"),
        (GERMAN, "utf-16-be", "utf-16-be"),
        (GERMAN, "cp1252", "cp1252"),
        (GERMAN, "latin-1", "cp1252"),  # the same bytes for these letters
        (CHINESE, "gbk", "gbk"),
        (JAPANESE, "cp932", "cp932"),
        (RUSSIAN, "cp1251", "cp1251"),
        ("user,item\n1,2\n", "ascii", "utf-8"),
    ],
)
def test_the_encoding_of_texts_in_several_languages(
    text: str, encoding: str, expected: str
) -> None:
    encoded = text.encode(encoding)
    guess = guess_encoding(encoded)
    assert guess.name == expected
    assert bool(guess.doubts) == (expected in ("cp1252", "gbk", "cp932", "cp1251"))
    assert encoded.decode(guess.name).lstrip("\ufeff") == text


def test_a_sample_may_end_inside_a_character() -> None:
    for text, encoding in ((CHINESE, "utf-8"), (CHINESE, "gbk"), (JAPANESE, "cp932")):
        assert guess_encoding(text.encode(encoding)[:-2]).name == encoding
