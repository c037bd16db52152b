"""Reading of WAV files that anybody may have made."""

import io
import math
import struct
import warnings
from typing import Final

import numpy as np
import numpy.typing as npt

from chronotope.content.inputs.image_reading import ContentRefused

Samples = npt.NDArray[np.float32]

SAMPLE_RATE: Final = 16_000
"""Samples a second that audio encoders read."""

_MIN_RATE: Final = 4_000
_MAX_RATE: Final = 384_000
_MIN_SAMPLES: Final = SAMPLE_RATE // 10


def decode_wav(content: bytes, max_samples: int) -> Samples:
    """Mono sound of a WAV file at 16 kHz, its beginning.

    Args:
        content: Content of the file: integers of 8, 16 or 32 bits, or 32-bit floats.
        max_samples: Number of samples of the result after which it is cut.

    Returns:
        Samples in [-1, 1], shape (n_samples,).

    Raises:
        ContentRefused: It is no such file, damaged, or shorter than 0.1 s.
    """
    from scipy.io import wavfile
    from scipy.signal import resample_poly

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", wavfile.WavFileWarning)  # a chunk it does not know
            rate, stored = wavfile.read(io.BytesIO(content))
    except (ValueError, struct.error, EOFError, TypeError, ZeroDivisionError) as error:
        raise ContentRefused("not a WAV file, or a damaged one") from error
    if not _MIN_RATE <= rate <= _MAX_RATE:
        raise ContentRefused(f"sampling rate of {rate:,} Hz")
    stored = stored[: math.ceil(max_samples * rate / SAMPLE_RATE)]
    if len(stored) * SAMPLE_RATE < _MIN_SAMPLES * rate:
        raise ContentRefused("sound is shorter than 0.1 s")
    mono = _scaled(stored).reshape(len(stored), -1).mean(axis=1)
    divisor = math.gcd(rate, SAMPLE_RATE)
    samples = resample_poly(mono, SAMPLE_RATE // divisor, rate // divisor)[:max_samples]
    return np.asarray(np.nan_to_num(samples.clip(-1, 1)), dtype=np.float32)


def _scaled(stored: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
    """Samples as numbers in [-1, 1]."""
    values = stored.astype(np.float64)
    if stored.dtype == np.uint8:
        return (values - 128) / 128
    if np.issubdtype(stored.dtype, np.integer):
        return np.asarray(values / np.iinfo(stored.dtype.name).max)
    return np.asarray(values)
