"""Sounds made of notes, and files of them in any codec that PyAV has."""

from __future__ import annotations

import io
from typing import Any

import av
import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.int16]

RATE = 16_000
ENCODED = {
    "wav": ("wav", "pcm_s16le", {}),
    "wav24": ("wav", "pcm_s24le", {}),
    "float": ("wav", "pcm_f32le", {}),
    "flac": ("flac", "flac", {}),
    "aiff": ("aiff", "pcm_s16be", {}),
    "au": ("au", "pcm_s16be", {}),
    "mp3": ("mp3", "libmp3lame", {"b": "64000"}),
    "opus": ("ogg", "libopus", {"b": "24000"}),
    "aac": ("adts", "aac", {"b": "64000"}),
    "m4a": ("ipod", "aac", {"b": "64000"}),
    "g722": ("g722", "g722", {}),
}
"""Name → container, codec, its options."""


def song(seconds: float, seed: int) -> Samples:
    """Return notes of a tenth to a third of a second with overtones, each of its own loudness, at RATE."""
    random, parts, length = np.random.default_rng(seed), [], 0
    while length < seconds * RATE:
        time = np.arange(int(random.uniform(0.1, 0.33) * RATE)) / RATE
        pitch = 110 * 2 ** random.uniform(0, 3)
        tones = [random.uniform(0.1, 1) / n * np.sin(2 * np.pi * n * pitch * time) for n in range(1, 9)]
        parts.append(np.sum(tones, axis=0) * np.exp(-time * random.uniform(1, 6)) * random.uniform(0.4, 1))
        length += len(time)
    whole = np.concatenate(parts)[: int(seconds * RATE)]
    return np.rint(whole / np.abs(whole).max() * 20_000).astype(np.int16)


def noisy(samples: Samples, decibels: float, seed: int = 0) -> Samples:
    """Return samples with white noise so far below them."""
    power = np.mean(samples.astype(float) ** 2) / 10 ** (decibels / 10)
    noise = np.random.default_rng(seed).normal(size=len(samples)) * np.sqrt(power)
    return np.clip(np.rint(samples + noise), -(2**15), 2**15 - 1).astype(np.int16)


def encoded(samples: Samples, name: str = "wav", rate: int = RATE, channels: int = 1, **tags: str) -> bytes:
    """Return a file that holds the samples, the same in each channel."""
    container, codec, options = ENCODED[name]
    layout = {1: "mono", 2: "stereo"}[channels]
    out: Any = io.BytesIO()
    with av.open(out, "w", format=container) as file:
        file.metadata.update(tags)
        stream = file.add_stream(codec, rate=rate, layout=layout, options=options)
        planes = np.repeat(samples, channels).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(planes, format="s16", layout=layout)
        frame.sample_rate, frame.pts = rate, 0
        resampler = av.AudioResampler(
            stream.codec_context.format,
            layout,
            stream.codec_context.sample_rate,
            stream.codec_context.frame_size or 1024,
        )
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            file.mux(stream.encode(part))
        file.mux(stream.encode(None))
    return out.getvalue()
