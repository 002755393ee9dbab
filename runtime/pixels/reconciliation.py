"""The header's word and the codestream's, made one; or the contradiction, said.

PS3.5 8.2 asks that both agree. Where they do not, the codestream says how wide its samples are and
whether something was lost, the header what the samples mean.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from runtime.image.reasons import Reason
from runtime.pixels.pixel_format import PixelsRefusedError

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    from runtime.pixels.codestream import CodestreamHeader
    from runtime.pixels.pixel_format import PixelFormat


def reconciled(
    samples: NDArray[Any], said: CodestreamHeader, layout: PixelFormat, *, lossy: bool
) -> tuple[NDArray[Any], PixelFormat]:
    """Words, and the layout by which they are to be read.

    Args:
        samples: as the codec gave them, rows x columns, 8 or 16 bits.
        said: the codestream's word.
        layout: the header's.
        lossy: something was lost, by the codestream's word or the label's: samples may overshoot.

    Raises:
        PixelsRefusedError: UNSUPPORTED_PIXELS, where no reading follows from both.
    """
    layout = _placed(samples, said, layout)
    if said.precision_bits < layout.bits_stored and layout.signed and not said.signed:
        # Two's complement of how many bits? The sign could be anywhere.
        raise _contradiction(said, layout)
    if said.lossy and said.precision_bits < layout.bits_stored:
        # A lossless encoder may count the bits that are used; a lossy one has thrown them away.
        raise _contradiction(said, layout)
    if said.signed and not layout.signed and not lossy and int(samples.min()) < 0:
        raise PixelsRefusedError(
            Reason.UNSUPPORTED_PIXELS, "negative samples in the codestream, none by the header"
        )
    if lossy and layout.high_bit + 1 == layout.bits_stored:
        samples = _clipped(samples, said, layout)
    if samples.dtype.itemsize == 1 and layout.bits_stored > 8:
        samples = samples.astype(np.int16)  # with its sign
    return samples, layout


def in_place(words: NDArray[Any], layout: PixelFormat) -> NDArray[Any]:
    """Words of the allocated width, if they can be where the header puts them.

    Raises:
        PixelsRefusedError: UNSUPPORTED_PIXELS: all of them lie below the place that the header
            names for the sign or the highest bit, and use bits that it calls unused.
    """
    shift = layout.high_bit + 1 - layout.bits_stored
    if shift:
        unsigned = words.view(np.dtype(f"u{words.dtype.itemsize}"))
        if _fits_below(words, layout) and np.any(unsigned & ((1 << shift) - 1)):
            raise PixelsRefusedError(
                Reason.UNSUPPORTED_PIXELS,
                f"high bit {layout.high_bit}, and no pixel above {layout.bits_stored} bits",
            )
    return words


def _fits_below(words: NDArray[Any], layout: PixelFormat) -> bool:
    """Would all of them be numbers of the stored bits, without a shift?"""
    unsigned = words.view(np.dtype(f"u{words.dtype.itemsize}"))
    if int(unsigned.max()) < 2**layout.bits_stored:
        return True
    numbers = words.view(np.dtype(f"i{words.dtype.itemsize}"))
    top = 2 ** (layout.bits_stored - 1)
    return layout.signed and -top <= int(numbers.min()) and int(numbers.max()) < top


def _placed(samples: NDArray[Any], said: CodestreamHeader, layout: PixelFormat) -> PixelFormat:
    """With the place of the bits: shifted up only where the samples are."""
    shift = layout.high_bit + 1 - layout.bits_stored
    if not shift:
        return layout
    low = replace(layout, high_bit=layout.bits_stored - 1)
    if said.precision_bits <= layout.bits_stored:
        return low
    empty = not np.any(samples & ((1 << shift) - 1))
    if empty or said.precision_bits == layout.high_bit + 1:
        in_place(samples, layout)
        return layout
    raise _contradiction(said, layout)


def _clipped(samples: NDArray[Any], said: CodestreamHeader, layout: PixelFormat) -> NDArray[Any]:
    """Over- and undershoot of a lossy codestream, kept at the end that it passed."""
    top = 2**layout.bits_stored - 1
    if layout.signed:
        if not said.signed:
            return samples  # words, not numbers: there is no telling what overshot
        low, high = -(top + 1) // 2, top // 2
    else:
        low, high = 0, top
    if low <= int(samples.min()) and int(samples.max()) <= high:
        return samples
    limits = np.iinfo(samples.dtype)
    clipped: NDArray[Any] = np.clip(samples, max(low, limits.min), min(high, limits.max))
    return clipped


def _contradiction(said: CodestreamHeader, layout: PixelFormat) -> PixelsRefusedError:
    kind = "signed" if layout.signed else "unsigned"
    return PixelsRefusedError(
        Reason.UNSUPPORTED_PIXELS,
        f"a codestream of {said.precision_bits} bits; by the header {layout.bits_stored} bits"
        f" {kind}, high bit {layout.high_bit}",
    )
