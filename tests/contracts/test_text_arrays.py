"""No character of a text is replaced on its way through an array."""

from hypothesis import given
from hypothesis import strategies as st

from chronotope.contracts.text_arrays import shown_bytes, text_array, undecoded


@given(st.binary())
def test_bytes_survive_as_text(content: bytes) -> None:
    assert undecoded(shown_bytes(content)) == content


def test_half_a_character_makes_bytes_of_the_column() -> None:
    assert text_array(["a", None]).to_pylist() == ["a", None]
    assert text_array(["a", "\ud800"]).to_pylist() == [b"a", b"\xed\xa0\x80"]
