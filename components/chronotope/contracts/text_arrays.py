"""Arrow arrays of texts that may hold halves of surrogate pairs, which UTF-8 cannot encode."""

from collections.abc import Sequence

import pyarrow as pa


def text_array(texts: Sequence[str | None]) -> pa.Array:
    r"""Array of texts; bytes that are not UTF-8 if a text cannot be encoded, for its refusal.

    No character is replaced: a changed id would be another id.

    Example:
        >>> text_array(["a", None]).type, text_array(["\ud800"]).type
        (DataType(string), DataType(binary))
    """
    try:
        return pa.array(texts, pa.string())
    except UnicodeEncodeError:
        encoded_texts = [None if text is None else undecoded(text) for text in texts]
        return pa.array(encoded_texts, pa.binary())


def undecoded(text: str) -> bytes:
    """Bytes of a text with halves of surrogate pairs; ``shown_bytes`` is the inverse."""
    try:
        return text.encode("utf-8", "surrogateescape")  # bytes that were not decoded
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def shown_bytes(content: bytes) -> str:
    """Text of bytes, with a half of a surrogate pair for each byte that is not UTF-8."""
    return content.decode("utf-8", "surrogateescape")
