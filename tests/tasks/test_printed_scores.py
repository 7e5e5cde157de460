"""The table that a test prints: what its columns are over."""

import pytest
import torch

from nasoseg.metrics import OverlapMetrics, StreamingAUC, merge_scores
from nasoseg.tasks.results import print_scores


@pytest.mark.parametrize("there", [True, False])
def test_it_says_where_auc_is_over_fewer_patients_than_the_count(there, capsys):
    target = torch.zeros(2, 1, 4, 4, dtype=torch.bool)
    target[0, 0, 0] = True
    target[1, 0, 0] = there
    logits = torch.full((2, 1, 4, 4), -1.0)
    logits[:, 0, :2] = 1.0  # found in both patients
    overlap, auc = (of(["a", "b"], ["PTV63"]) for of in (OverlapMetrics, StreamingAUC))
    about = {"annotated": torch.ones(2, 1).bool(), "patients": ["a", "b"], "slices": torch.tensor([0, 0])}
    overlap.update(logits > 0, logits.sigmoid(), target, **about)
    auc.update(logits, target, **about)
    print_scores(merge_scores(overlap.compute(), auc.compute()), title="ours")
    printed = " ".join(capsys.readouterr().out.split())
    assert ("AUC: of the patients who have the structure" in printed) is not there
