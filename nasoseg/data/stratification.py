"""Iterative stratification: deal items to parts of given sizes so that every label is spread evenly.

Own code, because the package for it refuses a single label, lets the sizes of the parts drift apart, and would bring
scikit-learn along for one function.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

_TRIES = 32  # 8 balance sets of 6 to 20 patients as well as 128 do; 32 take 0.06 s for 124 patients


def deal(
    labels: npt.NDArray[np.bool_], sizes: Sequence[int], random: np.random.RandomState
) -> list[npt.NDArray[np.int64]]:
    """Deal items to parts of given sizes so that every label is spread as evenly as possible, rare ones first.

    Iterative stratification leaves much to chance in small sets, so it is tried several times, and the deal nearest to
    the parts' fair shares is kept: least sum over parts and labels of (found - share)**2 / share, as in a chi-square.

    Args:
        labels: (items, labels); True where an item has a label.
        sizes: Items of each part, 1 or more; they add up to the number of items.
        random: Source of the order of the items and of the ties.

    Returns:
        For every part, its items' indices in rising order.
    """
    if sum(sizes) != len(labels):
        raise ValueError(f"sizes add up to {sum(sizes)}, expected the number of items, {len(labels)}")
    labels = labels[:, labels.any(axis=0)]
    shares = np.outer(sizes, labels.mean(axis=0))
    deals = [_deal_once(labels, np.array(sizes), random) for _ in range(_TRIES)]
    found = [np.array([labels[part].sum(axis=0) for part in parts]) for parts in deals]
    # Rounded, so that a last bit that differs between machines decides no tie.
    return deals[int(np.argmin([((counts - shares) ** 2 / shares).sum().round(6) for counts in found]))]


def _deal_once(
    labels: npt.NDArray[np.bool_], room: npt.NDArray[np.int64], random: np.random.RandomState
) -> list[npt.NDArray[np.int64]]:
    """Deal items to parts with that much room each, the rarest label first.

    The algorithm of Sechidis, Tsoumakas and Vlahavas, "On the stratification of multi-label data", ECML PKDD 2011,
    algorithm 1: take the label with the fewest undealt items and give each of its items to the part that still wants
    that label most; ties go to the part with most room, then to chance. Unlike there, a full part receives nothing
    more. Items without a label are dealt last.
    """
    items, kinds = labels.shape
    parts = len(room)
    order = random.permutation(items)
    undealt = np.ones(items, bool)
    part_of = np.empty(items, np.int64)
    # What a part still wants of a label: its share, size / items of the label's items. Times items, to stay whole.
    wanted = room[:, None] * labels.sum(axis=0)
    for label in _rarest_first(labels, undealt):
        for item in order[undealt[order] & (labels[order, label] if label < kinds else True)]:
            open_parts = np.flatnonzero(room)
            if label < kinds:
                open_parts = _most(wanted[:, label], open_parts)
            open_parts = _most(room, open_parts)
            part = open_parts[random.randint(len(open_parts))]
            part_of[item] = part
            undealt[item] = False
            room[part] -= 1
            wanted[part, labels[item]] -= items
    return [np.flatnonzero(part_of == part) for part in range(parts)]


def _rarest_first(labels: npt.NDArray[np.bool_], undealt: npt.NDArray[np.bool_]) -> Iterator[int]:
    """Yield the label with the fewest undealt items until none is left, then one past the last label, for the rest."""
    while (left := labels[undealt].sum(axis=0)).any():
        yield int(np.argmin(np.where(left > 0, left, len(labels) + 1)))
    yield labels.shape[1]


def _most(values: npt.NDArray[np.int64], candidates: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Keep the candidates with the highest value."""
    among = values[candidates]
    return np.asarray(candidates[among == among.max()])
