"""Standard normal numbers that are the same bits on every kind of CPU: those of torch's randn on x86 with AVX2.

Invariant: `normal` gives what `torch.randn` gives there, for the same generator. torch computes the Box-Muller transform with the
vector unit that the CPU has, and the results differ in the last bit (by up to 2e-6), so an adapter's initial values, which are
drawn again from the seed, would differ from those that a checkpoint was trained from.

The transform is written out in operations that every IEEE 754 machine rounds alike. Constants and their order: the logarithm,
sine and cosine of the Cephes library as avx_mathfun.h has them, with the multiply-adds that torch's wheels are compiled to.
"""

import functools
import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float32]
Reals = NDArray[np.floating]
F = np.float32
WIDTH = 16  # numbers that are made together: 8 radii and 8 angles
LOG = (-1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1, 2.0000714765e-1,
       -2.4999993993e-1, 3.3333331174e-1)  # fmt: skip
SINE = (8.3321608736e-3, -1.6666654611e-1)
COSINE = (-1.388731625493765e-3, 4.166664568298827e-2)


def normal(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Independent N(0, 1) numbers, drawn from a generator on the CPU."""
    count = math.prod(shape)
    if count < WIDTH or torch_agrees():
        return torch.randn(shape, generator=generator)
    values = transformed(torch.rand(count // WIDTH * WIDTH + count % WIDTH, generator=generator).numpy())
    if count % WIDTH:  # torch draws the last sixteen again
        values[-WIDTH:] = transformed(torch.rand(WIDTH, generator=generator).numpy())
    return torch.from_numpy(values).reshape(shape)


@functools.cache
def torch_agrees() -> bool:
    """Whether torch's own function, which is faster, gives these numbers on this CPU."""
    drawn = torch.randn(2**14, generator=torch.Generator().manual_seed(0))
    return bool(np.array_equal(drawn.numpy(), transformed(torch.rand(2**14, generator=torch.Generator().manual_seed(0)).numpy())))


def transformed(uniform: Floats) -> Floats:
    """Normal numbers of uniform ones; those after the last sixteen are left as they are."""
    whole = len(uniform) // WIDTH * WIDTH
    blocks = uniform[:whole].reshape(-1, 2, WIDTH // 2)
    radius = np.sqrt(F(-2) * _log(F(1) - blocks[:, 0]))
    sine, cosine = _sine_cosine(F(2 * np.pi) * blocks[:, 1])
    return np.concatenate([np.stack([radius * cosine, radius * sine], axis=1).reshape(-1), uniform[whole:]])


def _log(x: Floats) -> Floats:
    bits = x.view(np.int32)
    exponent = ((bits >> 23) - 0x7F).astype(F) + F(1)
    mantissa = ((bits & np.int32(~0x7F800000)) | np.int32(0x3F000000)).view(F)
    small = mantissa < F(0.707106781186547524)
    exponent = exponent - small.astype(F)
    x = (mantissa - F(1)) + np.where(small, mantissa, F(0))
    z = x * x
    y = _polynomial(np.full_like(x, 7.0376836292e-2), x, LOG) * x
    y = _multiply_add(y, z, exponent * F(-2.12194440e-4))
    y = _multiply_add(z, F(-0.5), y)
    return _multiply_add(exponent, F(0.693359375), x + y)


def _sine_cosine(x: Floats) -> tuple[Floats, Floats]:
    """Of angles from 0 to 2 pi."""
    octant = ((x * F(1.27323954473516)).astype(np.int32) + 1) & ~1
    y = octant.astype(F)
    for part in (-0.78515625, -2.4187564849853515625e-4, -3.77489497744594108e-8):
        x = _multiply_add(y, F(part), x)
    z = x * x
    c = _polynomial(np.full_like(x, 2.443315711809948e-5), z, COSINE) * z
    c = _multiply_add(c, z, z * F(-0.5)) + F(1)
    s = _multiply_add(_polynomial(np.full_like(x, -1.9515295891e-4), z, SINE) * z, x, x)
    swapped = (octant & 2) != 0
    sine, cosine = np.where(swapped, c, s), np.where(swapped, s, c)
    return np.where((octant & 4) != 0, -sine, sine), np.where((~(octant - 2) & 4) != 0, -cosine, cosine)


def _polynomial(y: Floats, x: Floats, coefficients: tuple[float, ...]) -> Floats:
    for c in coefficients:
        y = _multiply_add(y, x, F(c))
    return y


def _multiply_add(a: Reals, b: Reals | np.float32, c: Reals | np.float32) -> Floats:
    """a b + c with one rounding. The product is exact in float64; the sum is rounded to odd there, so that rounding it once more
    to float32 gives what rounding the exact sum would."""
    product, addend = a.astype(np.float64) * np.float64(b), np.asarray(c, np.float64)
    total = product + addend
    part = total - product
    lost = (product - (total - part)) + (addend - part)
    bits = total.view(np.int64)
    step = np.where((lost > 0) == (total > 0), 1, -1)
    return (bits + np.where((lost != 0) & (bits & 1 == 0), step, 0)).view(np.float64).astype(F)
