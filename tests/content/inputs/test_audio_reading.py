"""Sounds in WAV files."""

import io

import numpy as np
import numpy.typing as npt
import pytest
from scipy.io import wavfile

from chronotope.content.inputs.audio_reading import decode_wav
from chronotope.content.inputs.image_reading import ContentRefused


def wav(samples: npt.NDArray[np.generic], rate: int = 16_000) -> bytes:
    content = io.BytesIO()
    wavfile.write(content, rate, samples)
    return content.getvalue()


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float32])
def test_every_kind_of_samples_becomes_the_same_sound(dtype: type[np.generic]) -> None:
    wave = np.sin(np.arange(32_000) * 0.1) * 0.5
    scale = {np.uint8: 127, np.int16: 32_767, np.int32: 2**31 - 1}.get(dtype, 1)
    stored = (wave * scale + (128 if dtype is np.uint8 else 0)).astype(dtype)
    samples = decode_wav(wav(stored), 1_000_000)
    assert len(samples) == 32_000
    np.testing.assert_allclose(samples[100:-100], wave[100:-100], atol=0.02)


def test_channels_are_averaged_rates_converted_and_long_sounds_cut() -> None:
    stereo = np.stack([np.full(44_100 * 2, 1_000), np.full(44_100 * 2, 3_000)], 1).astype(np.int16)
    samples = decode_wav(wav(stereo, 44_100), 16_000)
    assert len(samples) == 16_000
    np.testing.assert_allclose(samples[1_000:-1_000], 2_000 / 32_767, rtol=0.01)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"RIFF", "not a WAV file, or a damaged one"),
        (b"no sound at all", "not a WAV file, or a damaged one"),
        (wav(np.zeros(100, np.int16)), "sound is shorter than 0.1 s"),
        (wav(np.zeros(0, np.int16)), "sound is shorter than 0.1 s"),
        (wav(np.zeros(9_000, np.int16), 100), "sampling rate of 100 Hz"),
    ],
)
def test_what_cannot_be_a_sound_has_a_reason(content: bytes, reason: str) -> None:
    with pytest.raises(ContentRefused) as refusal:
        decode_wav(content, 16_000)
    assert refusal.value.problem == reason
