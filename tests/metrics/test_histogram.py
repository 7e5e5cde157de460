"""Histograms of logits: order, exact counts, merging."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nasoseg.metrics.histogram import NAME_BITS, area, area_of_slice, bin_logits, merge_bins, ordered_bits

floats = st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=300)


@given(floats)
@settings(deadline=None, max_examples=60)
def test_bits_keep_order_and_equality(values):
    logits = torch.tensor([*values, 0.0, -0.0])
    bits = ordered_bits(logits)
    assert torch.equal(logits[:, None] < logits, bits[:, None] < bits)


@given(floats, st.integers(0, 2**32))
@settings(deadline=None, max_examples=60)
def test_bins_keep_every_pixel_and_order(values, seed):
    logits = torch.tensor(values)
    target = torch.rand(len(values), generator=torch.Generator().manual_seed(seed)) < 0.5
    names, counts = bin_logits(logits, target)
    assert (names.diff() > 0).all()
    assert names.min() > 0
    assert names.max() < 1 << NAME_BITS
    assert counts.sum(0).tolist() == [int((~target).sum()), int(target.sum())]
    assert (counts.sum(1) > 0).all()
    assert area_of_slice(counts) == pytest.approx(area(names, counts), nan_ok=True)
    place = 2 * (ordered_bits(logits).long() + 2**31)  # in the coordinates of the names
    half = names & -names
    inside = (place[:, None] >= names - half) & (place[:, None] < names + half)
    assert torch.equal(inside.sum(1), torch.ones(len(values), dtype=torch.long))
    assert torch.equal(inside.sum(0), counts.sum(1))


def test_few_values_are_told_apart_exactly():
    logits = torch.tensor([1.0, 1.0 + 2**-15, 1.0 + 2**-14, -math.inf, math.inf])
    assert len(bin_logits(logits, torch.zeros(5, dtype=torch.bool))[0]) == 5


def test_nan_is_refused():
    with pytest.raises(ValueError, match="NaN"):
        bin_logits(torch.tensor([0.0, math.nan]), torch.tensor([True, False]))


def test_a_bin_inside_another_counts_as_tie():
    # Intervals (8, 16), (10, 12) inside it, and (16, 24) above both; false 1, 2, 0; true 0, 4, 8.
    names, counts = torch.tensor([12, 11, 20]), torch.tensor([[1, 0], [2, 4], [0, 8]])
    assert area(names, counts) == (4 * (0.5 * 1 + 0.5 * 2) + 8 * 3) / (3 * 12)


@given(st.integers(0, 2**32), st.integers(3, 60))
@settings(deadline=None, max_examples=30)
def test_merging_in_any_groups_gives_the_same(seed, most):
    generator = torch.Generator().manual_seed(seed)
    pieces = []
    for i in range(4):
        logits = torch.randn(200, generator=generator) * 0.1 + i % 2
        names, counts = bin_logits(logits, torch.rand(200, generator=generator) < 0.3)
        structures = torch.randint(0, 2, names.shape, generator=generator)
        pieces.append((structures, names, counts, torch.zeros(2, dtype=torch.int64)))

    def merge(*parts):
        structures, names, counts, levels = (
            torch.stack(part).amax(0) if i == 3 else torch.cat(part) for i, part in enumerate(zip(*parts, strict=True))
        )
        return merge_bins(structures, names, counts, levels, most=most)

    a, b, c, d = pieces
    at_once = merge(a, b, c, d)
    for other in (merge(merge(a, b), merge(c, d)), merge(merge(merge(d, b), a), c)):
        for one, two in zip(at_once, other, strict=True):
            assert torch.equal(one, two)
    assert int(at_once[2].sum()) == 800
    assert int(torch.bincount(at_once[0]).max()) <= most
