"""Two real processes give the numbers of one."""

import warnings

import pytest
import torch
from two_processes import run_two

from nasoseg.errors import NasosegError
from nasoseg.metrics import OverlapMetrics, Scores, StreamingAUC, merge_scores

PATIENTS = ["a", "b", "c"]
LABELS = ["one", "two", "three"]
SLICES = [(patient, z) for patient, n in zip(PATIENTS, (4, 3, 4), strict=True) for z in range(n)]
DEALS = {  # which slices each process gets
    "whole patients": (SLICES[:4], SLICES[4:]),
    "every second slice, padded": (SLICES[0::2], [*SLICES[1::2], SLICES[0]]),
    "one process without a slice": (SLICES, []),
    "first process without a slice": ([], SLICES),
    "repeats within a process": ([*SLICES[:6], SLICES[0], SLICES[3]], SLICES[6:]),
    "a patient on both": (SLICES[:7], SLICES[4:]),
    "parts of patients on both": (SLICES[:6], SLICES[3:]),
}


def maps(patient: str, z: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Make logits and target (1, 3, 24, 20) of one slice, and what is annotated: structure two not in b."""
    generator = torch.Generator().manual_seed(100 * PATIENTS.index(patient) + z)
    logits = 3 * torch.randn(1, 3, 24, 20, generator=generator) - 2
    target = torch.rand(1, 3, 24, 20, generator=generator) < (logits / 4).sigmoid() * 0.3
    target[:, 2, :, :] &= patient == "c"
    return logits, target, torch.tensor([[True, patient != "b", True]])


def evaluate(slices: list[tuple[str, int]], *, only_auc: bool = False) -> Scores:
    overlap, auc = OverlapMetrics(PATIENTS, LABELS), StreamingAUC(PATIENTS, LABELS)
    for patient, z in slices:
        logits, target, annotated = maps(patient, z)
        about = {"annotated": annotated, "patients": [patient], "slices": torch.tensor([z])}
        overlap.update(logits > 0, logits.sigmoid(), target, **about)
        auc.update(logits, target, **about)
    return auc.compute() if only_auc else merge_scores(overlap.compute(), auc.compute())


def work(rank: int) -> dict[str, dict]:
    warnings.filterwarnings("ignore", message=".*before the ``update`` method")  # a process without a slice
    results = {name: evaluate(deal[rank]).__dict__ for name, deal in DEALS.items()}
    # Both processes count slice 2 of a in the middle of their work, and each has slices of its own beside it.
    with pytest.raises(NasosegError, match="patient a, slice 2 was counted by two processes"):
        evaluate([*SLICES[:3], *SLICES[4:6]] if rank == 0 else SLICES[2:], only_auc=True)
    return results


@pytest.fixture(scope="module")
def gathered(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict]]:
    return run_two(work, tmp_path_factory.mktemp("processes"))


@pytest.mark.parametrize("deal", DEALS)
@pytest.mark.parametrize("rank", [0, 1])
def test_processes_give_the_numbers_of_one(gathered, deal, rank):
    alone, together = evaluate(SLICES), Scores(**gathered[rank][deal])
    assert torch.equal(together.annotated, alone.annotated)
    assert torch.equal(together.slice_keys, alone.slice_keys)
    assert torch.equal(together.correctly_absent, alone.correctly_absent)
    assert alone.correctly_absent.tolist() == [[False] * 3] * 3
    for table in ("volume", "slice", "slices", "pooled"):
        values, others = getattr(alone, table), getattr(together, table)
        assert values.keys() == others.keys() == {"dsc", "soft_dsc", "jsc", "precision", "recall", "f1", "auc"}
        for metric in values:
            assert torch.equal(values[metric].nan_to_num(-1), others[metric].nan_to_num(-1)), (table, metric)
    assert together.micro == alone.micro
