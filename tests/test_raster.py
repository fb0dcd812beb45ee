"""Passes over pixels, against Pillow and numpy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, features

from dedupver.fingerprint.raster import BICUBIC, LANCZOS, deviates, grey, resize

compiled = settings(deadline=None, max_examples=60)
"""What is compiled takes seconds the first time."""

SIZES = st.integers(1, 90)
RULES = ("noise", "two levels", "ramp")


def picture(height: int, width: int, rule: str) -> npt.NDArray[np.uint8]:
    """Pixels with every level, with the extremes alone (where weights overshoot), or smooth."""
    noise = np.random.default_rng(height * 100 + width).integers(0, 256, (height, width, 3), np.uint8)
    if rule == "noise":
        return noise
    if rule == "two levels":
        return (noise // 128 * 255).astype(np.uint8)
    return np.broadcast_to((np.arange(width) % 256).astype(np.uint8)[None, :, None], (height, width, 3)).copy()


@compiled
@given(SIZES, SIZES, st.sampled_from(RULES))
def test_grey_is_pillows(height: int, width: int, rule: str) -> None:
    """Luma equals that of `convert("L")`, level by level."""
    pixels = picture(height, width, rule)
    assert np.array_equal(grey(pixels)[:, :, 0], np.asarray(Image.fromarray(pixels).convert("L")))


@pytest.mark.skipif(int((features.version("pil") or "0").split(".")[0]) < 13, reason="passes in another order")
@compiled
@given(SIZES, SIZES, st.sampled_from([32, 64]), st.sampled_from(RULES))
@example(32, 32, 32, "noise")  # nothing to do
@example(90, 33, 32, "two levels")  # tall: Pillow goes down first
@example(1, 1, 64, "noise")
def test_resize_is_pillows(height: int, width: int, side: int, rule: str) -> None:
    """Larger, smaller, tall and wide: the same bytes as Pillow's, grey by Lanczos and colour by the bicubic filter."""
    pixels = picture(height, width, rule)
    colour = Image.fromarray(pixels)
    expected = colour.convert("L").resize((side, side), Image.Resampling.LANCZOS)
    assert np.array_equal(resize(grey(pixels), side, LANCZOS)[:, :, 0], np.asarray(expected))
    expected = colour.resize((side, side), Image.Resampling.BICUBIC)
    assert np.array_equal(resize(pixels, side, BICUBIC), np.asarray(expected))


@compiled
@given(SIZES, SIZES, st.integers(0, 3), st.integers(0, 2))
def test_deviates_is_the_standard_deviation(height: int, width: int, most: int, channel: int) -> None:
    """One channel that varies is enough, wherever it does; the others may be flat."""
    pixels = np.full((height, width, 3), 7, np.uint8)
    pixels[:, :, channel] += np.random.default_rng(most).integers(0, most + 1, (height, width), np.uint8)
    assert deviates(pixels, 1.0) == (pixels[:, :, channel].std() >= 1)


def test_half_and_half_deviates_by_half_the_difference() -> None:
    """The bound itself counts, and the lines that vary may be the last."""
    pixels = np.zeros((40, 8, 3), np.uint8)
    pixels[20:] = 2
    assert deviates(pixels, 1.0)
    assert not deviates(pixels, 1.01)
