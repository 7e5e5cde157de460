"""Histograms of logits that adapt to where the logits lie, and merge exactly.

A fixed grid fails in practice: the logits of a background lie within 0.01 of each other while a few voxels are three
units away, and a bin then holds half of all voxels. Here every slice puts its bins where its own voxels are, but
always at *dyadic* intervals of the ordered float32 bit patterns: two such intervals are nested or apart, never
half over each other. So the bins of all slices of a volume can be thrown together in any order and on any process,
with the same result to the bit.

A bin is named by the middle of its interval: an integer whose trailing zeros tell the width, so that sorting by name
sorts by logit.
"""

import torch
from torch import Tensor

SLOTS = 8192
"""Bins that a slice shares out among its logits by mass."""

CROWD = 2
"""Shares beyond which a bin is split again: a bin with more than 2 / 8192 of a slice's pixels holds one value only.

So a slice's area is at most 1.2e-4 off, if one bin held all true pixels and the false ones in it were all on one side.
"""

MOST_BINS = 16_384
"""Bins that one structure of one volume keeps; beyond it, the finest are joined."""

NAME_BITS = 34
"""A name is below ``2 ** 34``."""

_COARSE = 1 << 16  # bins of the first look: sign, exponent and 7 bits of mantissa
_ZERO = _COARSE >> 1
_INFINITY = 0x7F80  # coarse bins from +0 to +infinity; beyond it only NaN has bit patterns
_POWERS = tuple(1 << i for i in range(16))


def ordered_bits(logits: Tensor) -> Tensor:
    """Map float32 to int32 so that order is kept and equal stays equal (-0.0 and 0.0 included)."""
    bits = (logits + 0.0).view(torch.int32)
    flip = bits >> 31
    flip &= 0x7FFFFFFF
    return bits.bitwise_xor_(flip)


def bin_logits(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Count false and true pixels in bins that are narrow where the pixels are many.

    Args:
        logits: (n,) float32.
        target: (n,) bool.

    Returns:
        Names of the bins that hold a pixel, (e,) int64 ascending; pixels in them that are false and true, (e, 2).

    Raises:
        ValueError: If a logit is NaN.
    """
    bits = ordered_bits(logits)
    slot = bits >> 16
    slot += _ZERO
    rest = bits.bitwise_and_(0xFFFF)
    mass = torch.bincount(slot, minlength=_COARSE)
    used = mass.nonzero()[:, 0]
    if used[0] < _ZERO - 1 - _INFINITY or used[-1] > _ZERO + _INFINITY:
        raise ValueError("a logit is NaN")
    lowest, left = used << 16, torch.full_like(used, 16)  # of each bin: first bit pattern, bits not yet looked at
    powers = torch.tensor(_POWERS, device=logits.device)
    while True:
        share = (mass[used] * SLOTS + logits.numel() - 1) // logits.numel()
        depth = torch.where(share > CROWD, torch.bucketize(share, powers), 0).minimum(left)
        if not depth.any():
            break
        left -= depth
        parts = 1 << depth
        first = parts.cumsum(0) - parts
        # One look-up per pixel gives both the first part of its bin and how many of its last bits do not matter yet.
        places = torch.zeros(len(mass), dtype=torch.int32, device=logits.device)
        places[used] = ((first << 5) | left).to(torch.int32)
        place = places.index_select(0, slot)
        slot = place >> 5
        place &= 31
        part = rest >> place
        slot += part
        rest -= part.bitwise_left_shift_(place)
        mass = torch.bincount(slot)
        used = mass.nonzero()[:, 0]
        of = torch.repeat_interleave(parts).index_select(0, used)
        left = left[of]
        lowest = lowest[of] + ((used - first[of]) << left)
    true = torch.bincount(slot.index_select(0, target.nonzero()[:, 0]), minlength=len(mass))
    return 2 * lowest + (1 << left), torch.stack([mass - true, true], 1)[used]


def merge_bins(
    structures: Tensor, names: Tensor, counts: Tensor, levels: Tensor, *, most: int = MOST_BINS
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Add up bins of the same structure and name, and join the finest where a structure has more than ``most``.

    The result depends on the pixels alone, not on the order or the groups in which they were merged, because a
    structure's level is handed on: what is joined once stays joined.

    Args:
        structures: (e,) int64, which structure a bin belongs to, in 0..63.
        names: (e,) int64.
        counts: (e, 2) int64, false and true pixels.
        levels: (k,) int64; bins of a structure are at least ``2 ** level`` bit patterns wide.
        most: Bins that a structure keeps.

    Returns:
        Structures, names and counts of the merged bins, ascending, and the levels.
    """
    levels = levels.clone()
    while True:
        if levels.any():
            width = torch.ones_like(names) << levels[structures]
            names = torch.where((names & -names) < width, (names & (-2 * width)) | width, names)
        codes = (structures << NAME_BITS) | names
        order = _order(codes)
        codes = codes.index_select(0, order)
        last = torch.ones_like(codes, dtype=torch.bool)
        last[:-1] = codes[1:] != codes[:-1]
        ends = last.nonzero()[:, 0]
        codes = codes.index_select(0, ends)
        counts = torch.stack([_sums_of_runs(column.index_select(0, order), ends) for column in counts.unbind(1)], 1)
        structures, names = codes >> NAME_BITS, codes & ((1 << NAME_BITS) - 1)
        crowded = torch.bincount(structures, minlength=len(levels)) > most
        if not crowded.any():
            return structures, names, counts, levels
        levels += crowded


def _order(codes: Tensor) -> Tensor:
    if codes.is_cpu:  # numpy's stable sort merges runs that are sorted already: ten times faster here than torch's
        return torch.from_numpy(codes.numpy().argsort(kind="stable"))
    return codes.argsort()


def _sums_of_runs(values: Tensor, ends: Tensor) -> Tensor:
    sums = values.cumsum(0).index_select(0, ends)
    return sums.diff(prepend=sums.new_zeros(1))


def area(names: Tensor, counts: Tensor) -> float:
    """Compute the area under the ROC curve, ties counting half (Luo et al. 2020, eq. 5).

    Pixels whose bins overlap count as ties: those of one bin, and those of a bin that lies inside another (the same
    logit can be in a wide bin of one slice and in a narrow one of the next).

    Args:
        names: (e,) int64, in any order, repeats allowed.
        counts: (e, 2) false and true pixels.

    Returns:
        NaN unless both occur.
    """
    false, true = counts.double().unbind(1)
    total = false.sum()
    pairs = float(total * true.sum())
    if pairs == 0:
        return float("nan")
    half = names & -names
    below = _mass_up_to(names + half, false, names - half)
    above = _mass_up_to(half - names, false, -half - names)
    return float((true * (total + below - above)).sum() / 2) / pairs


def area_of_slice(counts: Tensor) -> float:
    """Compute the same from the bins of one slice, which lie apart: counts (e, 2) in ascending order of names."""
    false, true = counts.double().unbind(1)
    pairs = float(false.sum() * true.sum())
    if pairs == 0:
        return float("nan")
    return float((true * (false.cumsum(0) - false / 2)).sum()) / pairs


def _mass_up_to(edges: Tensor, mass: Tensor, limits: Tensor) -> Tensor:
    """Sum, for every limit, the mass whose edge is at most the limit."""
    edges, order = edges.sort()
    sums = torch.cat([mass.new_zeros(1), mass[order].cumsum(0)])
    return sums[torch.searchsorted(edges, limits, right=True)]
