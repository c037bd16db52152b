"""Tokenizers of the package ``tokenizers`` behind the protocol of the text encoder."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np

from chronotope.content.encoders.onnx_text_encoder import Tokens, TokenWindows
from chronotope.content.encoders.packaged_weights import EXTRA, MissingWeights
from chronotope.contracts.errors import ArtifactError

_SPACES = re.compile(" {2,}")
_FIRST = ("[CLS]", "<s>", "<bos>")
_LAST = ("[SEP]", "</s>", "<eos>")
_PADDING = ("[PAD]", "<pad>")


@dataclass(frozen=True, slots=True)
class HubTokenizer:
    """Tokenizer of the package ``tokenizers``.

    Attributes:
        tokenizer: Its object.
        replacements: Text that replaces a character, by its code point.
    """

    tokenizer: Any
    replacements: Mapping[int, str] = field(default_factory=dict)

    def encode_batch(self, texts: Sequence[str]) -> list[Tokens]:
        """Token ids of each text, without special tokens."""
        text_encodings = self.tokenizer.encode_batch(
            [_normalised(text, self.replacements) for text in texts], add_special_tokens=False
        )
        return [np.array(text_encoding.ids, dtype=np.int64) for text_encoding in text_encodings]


def read_tokenizer(tokenizer_json: bytes) -> HubTokenizer:
    """Tokenizer of the content of a ``tokenizer.json``; texts are neither cut nor padded.

    Args:
        tokenizer_json: Content of the file.

    Raises:
        MissingWeights: The package ``tokenizers`` is not installed.
        ArtifactError: It is not a tokenizer.
    """
    tokenizers = _tokenizers()
    try:
        tokenizer = tokenizers.Tokenizer.from_str(tokenizer_json.decode())
    except Exception as error:  # the package raises Exception itself
        raise ArtifactError(
            "The tokenizer cannot be read",
            received=error,
            way_out="Name a tokenizer.json as written by the package tokenizers",
        ) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return HubTokenizer(tokenizer)


def unigram_tokenizer(
    pieces: Sequence[tuple[str, float]], unknown: int, replacements: Mapping[int, str]
) -> HubTokenizer:
    """SentencePiece unigram tokenizer (Kudo 2018).

    Args:
        pieces: Piece and logarithmic probability of each token.
        unknown: Token of a character that no piece holds.
        replacements: Text that replaces a character, by its code point.

    Raises:
        MissingWeights: The package ``tokenizers`` is not installed.
    """
    tokenizers = _tokenizers()
    tokenizer = tokenizers.Tokenizer(tokenizers.models.Unigram(list(pieces), unknown, False))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace(prepend_scheme="always")
    return HubTokenizer(tokenizer, replacements)


def token_windows(tokenizer: HubTokenizer, max_tokens: int, prefix: str = "") -> TokenWindows:
    """Windows with the special tokens of a tokenizer.

    Args:
        tokenizer: The tokenizer.
        max_tokens: Length of a window.
        prefix: Text in front of every text.

    Raises:
        ArtifactError: Its vocabulary has none of the usual special tokens.
    """
    return TokenWindows(
        first=_special_token(tokenizer, _FIRST),
        last=_special_token(tokenizer, _LAST),
        padding=_special_token(tokenizer, _PADDING),
        max_tokens=max_tokens,
        overlap=min(32, max_tokens // 8),
        prefix=prefix,
    )


def _special_token(tokenizer: HubTokenizer, names: Sequence[str]) -> int:
    for name in names:
        token_id = tokenizer.tokenizer.token_to_id(name)
        if token_id is not None:
            return int(token_id)
    raise ArtifactError(
        "The tokenizer lacks a special token",
        received=f"none of {list(names)}",
        way_out="Name the tokenizer of a BERT-like encoder",
    )


def _normalised(text: str, replacements: Mapping[int, str]) -> str:
    return _SPACES.sub(" ", text.translate(replacements)) if replacements else text


def _tokenizers() -> ModuleType:
    try:
        import tokenizers
    except ImportError as error:
        raise MissingWeights(
            "The package tokenizers is not installed", way_out=f'Run: pip install "{EXTRA}"'
        ) from error
    return tokenizers
