"""Masks over fixed-point integers: a stream of a seed, and keys agreed by two clients.

Numbers are rounded to multiples of 2^-scale_bits and added modulo 2^bits, where masks are uniform
and so hide what they are added to.
"""

from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from chronotope.contracts.errors import DataError
from chronotope.contracts.event_log import Float64

ModulusBits = Literal[32, 64]
Integers = npt.NDArray[np.unsignedinteger]

KEY_BYTES: Final = 32
"""Length of all keys and seeds."""

_TYPES: Final[dict[int, type[np.unsignedinteger]]] = {32: np.uint32, 64: np.uint64}
_SIGNED: Final[dict[int, type[np.signedinteger]]] = {32: np.int32, 64: np.int64}


def encode(values: Float64, scale_bits: int, modulus_bits: ModulusBits) -> Integers:
    """Numbers as integers modulo 2^modulus_bits, the same shape.

    Args:
        values: Numbers; a sum over all clients has to fit as well.
        scale_bits: Binary places; 0 for whole numbers.
        modulus_bits: Bits of an integer.

    Raises:
        DataError: A number is not finite, or too large for a quarter of the range.
    """
    scaled = np.rint(np.ldexp(values, scale_bits))
    if not np.isfinite(scaled).all() or np.abs(scaled).max(initial=0.0) >= 2.0 ** (
        modulus_bits - 2
    ):
        raise DataError(
            "A number is not finite or too large for secure aggregation",
            received=f"largest magnitude {np.abs(values).max(initial=0.0):g}",
            way_out="Lower the learning rate, or set aggregation.update_norm",
        )
    return scaled.astype(np.int64).astype(_TYPES[modulus_bits])


def decode(sums: Integers, scale_bits: int, modulus_bits: ModulusBits) -> Float64:
    """Inverse of ``encode``, for sums as well."""
    signed = sums.astype(_TYPES[modulus_bits]).view(_SIGNED[modulus_bits])
    return np.ldexp(signed.astype(np.float64), -scale_bits)


def mask_stream(seed: bytes, n_integers: int, modulus_bits: ModulusBits) -> Integers:
    """Uniform integers that a seed determines (AES-256 in counter mode), shape (length,).

    Args:
        seed: 32 bytes that are used for one stream only.
        n_integers: Number of integers.
        modulus_bits: Bits of an integer.
    """
    encryptor = Cipher(algorithms.AES(seed), modes.CTR(bytes(16))).encryptor()
    mask_values = encryptor.update(bytes(n_integers * modulus_bits // 8))
    return np.frombuffer(mask_values, np.dtype(_TYPES[modulus_bits]).newbyteorder("<"))


def new_private_key() -> bytes:
    """A fresh X25519 key."""
    return X25519PrivateKey.generate().private_bytes_raw()


def public_key(private_key: bytes) -> bytes:
    """Public part of a key of ``new_private_key``."""
    return X25519PrivateKey.from_private_bytes(private_key).public_key().public_bytes_raw()


def agreed_key(private_key: bytes, peer_public_key: bytes, purpose: bytes) -> bytes:
    """Key that two parties share for one purpose: X25519, then HKDF-SHA-256.

    Args:
        private_key: One's own.
        peer_public_key: The other's.
        purpose: What the key is used for, the same on both sides.
    """
    exchanged = X25519PrivateKey.from_private_bytes(private_key).exchange(
        X25519PublicKey.from_public_bytes(peer_public_key)
    )
    return HKDF(SHA256(), KEY_BYTES, salt=None, info=purpose).derive(exchanged)
