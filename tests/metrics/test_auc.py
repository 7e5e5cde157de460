"""StreamingAUC against scikit-learn: hard distributions, real CT, order of slices, memory, laws."""

import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.nn import functional as F

from nasoseg.errors import NasosegError
from nasoseg.metrics import Scores, StreamingAUC
from nasoseg.metrics.histogram import MOST_BINS
from nasoseg.models.unet import UNet

TOLERANCE = 1e-4  # what issue and documentation promise; measured errors are some ten times smaller


def stream(logits, target, *, annotated=None, patients=None, slices=None, batch=2) -> Scores:
    """Run the metric over (n, k, h, w) logits in batches."""
    return filled(logits, target, annotated=annotated, patients=patients, slices=slices, batch=batch).compute()


def filled(logits, target, *, annotated=None, patients=None, slices=None, batch=2) -> StreamingAUC:
    n, k = logits.shape[:2]
    patients = patients or ["a"] * n
    annotated = torch.ones(n, k, dtype=torch.bool) if annotated is None else annotated
    slices = torch.arange(n) if slices is None else slices
    metric = StreamingAUC(sorted(set(patients)), [f"s{i}" for i in range(k)])
    for i in range(0, n, batch):
        part = slice(i, i + batch)
        metric.update(
            logits[part], target[part], annotated=annotated[part], patients=patients[part], slices=slices[part]
        )
    return metric


def exact(logits: Tensor, target: Tensor) -> float:
    if target.all() or not target.any():
        return math.nan
    bounded = logits.flatten().double().clamp(-1e300, 1e300)  # scikit-learn takes no infinity
    return float(roc_auc_score(target.flatten().numpy(), bounded.numpy()))


def check(logits: Tensor, target: Tensor) -> None:
    """Compare volume, slices, pooled and micro of one patient with the exact values."""
    scores = stream(logits, target)
    for c in range(logits.shape[1]):
        expected = exact(logits[:, c], target[:, c])
        assert scores.volume["auc"][0, c].item() == pytest.approx(expected, abs=TOLERANCE, nan_ok=True)
        assert scores.pooled["auc"][c].item() == pytest.approx(expected, abs=TOLERANCE, nan_ok=True)
        each = [exact(logits[i, c], target[i, c]) for i in range(len(logits))]
        assert scores.slices["auc"][:, c].tolist() == pytest.approx(each, abs=TOLERANCE, nan_ok=True)
        defined = [value for value in each if not math.isnan(value)]
        if defined:
            assert scores.slice["auc"][0, c].item() == pytest.approx(np.mean(defined), abs=TOLERANCE)
    assert scores.micro["auc"] == pytest.approx(exact(logits, target), abs=TOLERANCE, nan_ok=True)


def test_number_by_hand():
    # Ranks of -1, 0, 0, 2 are 1, 2.5, 2.5, 4; true are the second 0 and 2: S0 = 6.5, (6.5 - 3) / (2 * 2).
    logits = torch.tensor([0.0, -1.0, -0.0, 2.0]).view(1, 1, 1, 4)
    target = torch.tensor([False, False, True, True]).view(1, 1, 1, 4)
    scores = stream(logits, target)
    assert scores.volume["auc"].item() == scores.slices["auc"].item() == scores.micro["auc"] == 3.5 / 4


def scattered(background: Tensor, structure: Tensor, n=4, side=128) -> tuple[Tensor, Tensor]:
    """Spread logits over n slices: ``structure`` where the target is true, ``background`` elsewhere."""
    pixels = torch.zeros(n * side * side, dtype=torch.bool)
    pixels[torch.randperm(len(pixels))[: len(structure)]] = True
    logits = background[: len(pixels)].clone()
    logits[pixels] = structure
    return logits.view(n, 1, side, side), pixels.view(n, 1, side, side)


def normal(n: int, mean: float, deviation: float) -> Tensor:
    return mean + deviation * torch.randn(n)


N = 4 * 128 * 128
DISTRIBUTIONS = {
    "trained": lambda: (normal(N, -8, 2), normal(900, 1, 3)),
    "untrained, within 0.02 of -2": lambda: (normal(N, -2, 0.005), normal(900, -1.995, 0.005)),
    "narrower still": lambda: (normal(N, -2, 2e-4), normal(900, -1.9999, 2e-4)),
    "around zero": lambda: (normal(N, 0, 1e-6), normal(900, 1e-6, 1e-6)),
    "narrow with far outliers": lambda: (
        torch.cat([torch.tensor([-2000.0, 3.0, 60.0, math.inf, -math.inf]), normal(N - 5, -2, 0.005)]),
        normal(900, -1.995, 0.005),
    ),
    "saturated": lambda: (
        torch.where(torch.rand(N) < 0.97, -60.0, 60.0),
        torch.where(torch.rand(900) < 0.2, -60.0, 60.0),
    ),
    "half saturated": lambda: (normal(N, -20, 30).clamp(-60, 60), normal(900, 20, 30).clamp(-60, 60)),
    "all tied": lambda: (torch.full((N,), -2.3), torch.full((900,), -2.3)),
    "constant air, noisy body": lambda: (
        torch.where(torch.rand(N) < 0.6, 0.119, normal(N, 0.13, 0.02)),
        torch.where(torch.rand(900) < 0.3, 0.119, normal(900, 0.14, 0.02)),
    ),
    "few steps": lambda: (normal(N, -2, 3).round(), normal(900, 0, 3).round()),
    "three pixels": lambda: (normal(N, -8, 2), normal(3, -6, 2)),
    "one pixel": lambda: (normal(N, -8, 2), normal(1, -6, 2)),
}


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_agrees_with_scikit_learn(distribution, dtype):
    torch.manual_seed(0)
    logits, target = scattered(*DISTRIBUTIONS[distribution]())
    check(logits.to(dtype), target)


@pytest.fixture(scope="module")
def real(small_store) -> tuple[Tensor, Tensor]:
    """Two real patients, eight slices each: images (n, 1, h, w) in 0..1 and targets of five structures (n, 5, h, w)."""
    patients = [small_store.patient(key) for key in small_store.keys[:2]]
    images = np.concatenate([patient.image for patient in patients]).astype(np.float32)
    planes = np.concatenate([patient.labels for patient in patients]).astype(np.int64)
    target = torch.from_numpy(planes)[:, None] >> torch.tensor([0, 1, 3, 6, 9])[:, None, None] & 1
    return torch.from_numpy(images)[:, None].clamp(-160, 240).add(160) / 400, target.bool()


@torch.no_grad()
def test_agrees_on_real_ct_with_an_untrained_network(real):
    torch.manual_seed(0)
    images, target = real
    logits = UNet(1, 5, width=8).eval()(images)
    check(logits, target)
    check(logits.bfloat16(), target)


def test_agrees_on_real_ct_with_blurred_masks(real):
    images, target = real
    near = F.avg_pool2d(target.float(), 9, 1, 4)
    check(16 * near - 9 + 2 * images, target)  # air is one constant, borders are soft


def test_order_batches_and_repeats_do_not_matter(real):
    images, target = real
    logits = 8 * F.avg_pool2d(target.float(), 9, 1, 4) - 5 + images
    patients, slices = [key for key in "ab" for _ in range(8)], torch.arange(8).repeat(2)
    first = stream(logits, target, patients=patients, slices=slices, batch=16)
    order = torch.randperm(16, generator=torch.Generator().manual_seed(1))
    order = torch.cat([order, order[:5]])
    mixed = [patients[i] for i in order]
    again = stream(logits[order], target[order], patients=mixed, slices=slices[order], batch=3)
    for table in ("volume", "slice", "slices", "pooled"):
        values, others = getattr(first, table)["auc"], getattr(again, table)["auc"]
        assert torch.equal(values.nan_to_num(-1), others.nan_to_num(-1))
    assert first.micro == again.micro
    assert torch.equal(first.slice_keys, again.slice_keys)


def test_compute_can_go_on(real):
    images, target = real
    logits = images.expand(-1, 5, -1, -1)
    about = {"annotated": torch.ones(1, 5, dtype=torch.bool), "patients": ["a"]}
    metric = StreamingAUC(["a"], [f"s{i}" for i in range(5)])
    for i in range(11):
        metric.update(logits[i : i + 1], target[i : i + 1], slices=torch.tensor([i]), **about)
        metric.compute()
    revived = pickle.loads(pickle.dumps(metric))
    expected = stream(logits[:11], target[:11])
    assert torch.equal(metric.compute().volume["auc"].nan_to_num(-1), expected.volume["auc"].nan_to_num(-1))
    assert torch.equal(revived.compute().volume["auc"].nan_to_num(-1), expected.volume["auc"].nan_to_num(-1))
    metric.reset()
    metric.update(logits[:1], target[:1], slices=torch.tensor([0]), **about)
    assert len(metric.compute().slice_keys) == 1


def test_memory_does_not_grow_with_slices():
    generator = torch.Generator().manual_seed(0)
    metric = StreamingAUC(["a"], ["s0"])
    most = 0
    for i in range(80):  # every slice has its logits elsewhere, so that 80 * 6400 bins would not be shared
        middle = 3 * math.sin(i)
        logits = torch.randn(1, 1, 80, 80, generator=generator) * 0.1 + middle
        about = {"annotated": torch.ones(1, 1).bool(), "patients": ["a"], "slices": torch.tensor([i])}
        metric.update(logits, logits > middle + 0.1, **about)
        most = max(most, sum(len(piece) for piece in metric.bins))
    assert most <= MOST_BINS + 8 * 80 * 80


def test_joined_bins_still_agree():
    generator = torch.Generator().manual_seed(0)
    middle = (3 * torch.arange(60).sin())[:, None, None, None]
    noise = torch.randn(60, 1, 64, 64, generator=generator) * 0.1
    logits, target = middle + noise, noise > 0.1 * torch.randn(60, 1, 64, 64, generator=generator) + 0.1
    scores = stream(logits, target, batch=7)
    assert scores.volume["auc"].item() == pytest.approx(exact(logits, target), abs=TOLERANCE)
    order = torch.randperm(60, generator=generator)
    again = stream(logits[order], target[order], slices=order, batch=5)
    assert torch.equal(again.volume["auc"], scores.volume["auc"])


def test_every_patient_has_a_value_of_his_own():
    generator = torch.Generator().manual_seed(7)
    logits = torch.randn(9, 2, 8, 8, generator=generator)
    target = torch.rand(logits.shape, generator=generator) < 0.3
    logits += target * torch.arange(9)[:, None, None, None] / 4  # the later, the better
    patients = [key for key in "abc" for _ in range(3)]
    volume = stream(logits, target, patients=patients).volume["auc"]
    expected = [[exact(logits[i : i + 3, c], target[i : i + 3, c]) for c in range(2)] for i in (0, 3, 6)]
    np.testing.assert_allclose(volume.numpy(), expected, atol=TOLERANCE)
    assert expected[0][0] < expected[1][0] < expected[2][0]


def test_not_annotated_and_absent_structures_have_no_value():
    logits, target = scattered(normal(N, -2, 1), normal(900, 0, 1))
    logits, target = logits.repeat(1, 3, 1, 1), target.repeat(1, 3, 1, 1)
    target[:, 2] = False
    annotated = torch.ones(4, 3, dtype=torch.bool)
    annotated[:, 1] = False
    logits[:, 1] = math.nan  # nobody looks at it
    scores = stream(logits, target, annotated=annotated)
    assert scores.volume["auc"].isnan().tolist() == [[False, True, True]]
    assert scores.pooled["auc"].isnan().tolist() == [False, True, True]
    assert scores.annotated.tolist() == [[True, False, True]]
    assert scores.micro["auc"] == pytest.approx(exact(logits[:, ::2], target[:, ::2]), abs=TOLERANCE)
    assert scores.summary().counted["auc"].tolist() == [1, 0, 0]


@pytest.mark.parametrize("nan", [math.nan, -math.nan])
def test_nan_is_an_error_that_names_its_place(nan):
    logits, target = torch.zeros(2, 1, 4, 4), torch.zeros(2, 1, 4, 4, dtype=torch.bool)
    logits[1, 0, 2, 2] = torch.tensor(nan)
    with pytest.raises(NasosegError, match="patient a, slice 7 holds NaN for s0"):
        stream(logits, target, slices=torch.tensor([6, 7]))


def test_bad_types():
    zeros, about = torch.zeros(1, 1, 4, 4), {"annotated": torch.ones(1, 1).bool(), "patients": ["a"]}
    metric = StreamingAUC(["a"], ["s0"])
    with pytest.raises(ValueError, match=r"target is torch\.float32: expected a float type and bool"):
        metric.update(zeros, zeros, slices=torch.tensor([0]), **about)
    for wrong, logits, target in (("logits", zeros[0], zeros > 0), ("target", zeros, zeros[..., 1:] > 0),
                                  ("logits", zeros[:, :, :0], zeros[:, :, :0] > 0)):  # fmt: skip
        with pytest.raises(ValueError, match=f"^{wrong} has shape"):
            metric.update(logits, target, slices=torch.tensor([0]), **about)
    assert len(StreamingAUC(["a"], [f"s{i}" for i in range(64)]).labels) == 64
    with pytest.raises(NasosegError, match="65 structures"):
        StreamingAUC(["a"], [f"s{i}" for i in range(65)])


@given(st.integers(0, 2**32), st.floats(0.01, 100), st.floats(-100, 100), st.integers(1, 40), st.integers(1, 40))
@settings(deadline=None, max_examples=30)
def test_laws(seed, scale, shift, h, w):
    generator = torch.Generator().manual_seed(seed)
    target = torch.rand(2, 1, h, w, generator=generator) < 0.3
    # Whole numbers: the maps below must not create or break ties by rounding.
    logits = torch.randn(2, 1, h, w, generator=generator).mul(4).round()
    values = stream(logits, target).volume["auc"]
    assert values.isnan().item() == math.isnan(exact(logits, target))
    assert values.isnan().item() or 0 <= values.item() <= 1
    for mapped in (logits * scale + shift, logits**3):
        assert stream(mapped, target).volume["auc"].item() == pytest.approx(values.item(), abs=TOLERANCE, nan_ok=True)
    assert stream(-logits, target).volume["auc"].item() == pytest.approx(1 - values.item(), abs=TOLERANCE, nan_ok=True)
    assert stream(logits, ~target).volume["auc"].item() == pytest.approx(1 - values.item(), abs=TOLERANCE, nan_ok=True)
