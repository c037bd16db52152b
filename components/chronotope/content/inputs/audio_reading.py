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


def decode_wav(file_content: bytes, max_samples: int) -> Samples:
    """Mono sound of a WAV file at 16 kHz, its beginning.

    Args:
        file_content: Content of the file: integers of 8, 16 or 32 bits, or 32-bit floats.
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
            sampling_rate, stored_samples = wavfile.read(io.BytesIO(file_content))
    except (ValueError, struct.error, EOFError, TypeError, ZeroDivisionError) as error:
        raise ContentRefused("not a WAV file, or a damaged one") from error
    if not _MIN_RATE <= sampling_rate <= _MAX_RATE:
        raise ContentRefused(f"sampling rate of {sampling_rate:,} Hz")
    stored_samples = stored_samples[: math.ceil(max_samples * sampling_rate / SAMPLE_RATE)]
    if len(stored_samples) * SAMPLE_RATE < _MIN_SAMPLES * sampling_rate:
        raise ContentRefused("sound is shorter than 0.1 s")
    mono_samples = _scaled(stored_samples).reshape(len(stored_samples), -1).mean(axis=1)
    rate_divisor = math.gcd(sampling_rate, SAMPLE_RATE)
    samples = resample_poly(
        mono_samples, SAMPLE_RATE // rate_divisor, sampling_rate // rate_divisor
    )[:max_samples]
    return np.asarray(np.nan_to_num(samples.clip(-1, 1)), dtype=np.float32)


def _scaled(stored_samples: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
    """Samples as numbers in [-1, 1]."""
    sample_values = stored_samples.astype(np.float64)
    if stored_samples.dtype == np.uint8:
        return (sample_values - 128) / 128
    if np.issubdtype(stored_samples.dtype, np.integer):
        return np.asarray(sample_values / np.iinfo(stored_samples.dtype.name).max)
    return np.asarray(sample_values)
