import pytest
import torch
from torch import nn

from nasoseg.models import Coupling, GateCoupling, ResidualCoupling, TwoStageNet

FEATURES = torch.full((1, 2, 1, 1), 3.0)
ROUGH = torch.tensor([0.0, 0.0]).view(1, 2, 1, 1)  # both probabilities are 1/2


def test_concat_appends_the_probabilities():
    assert Coupling().join(FEATURES, ROUGH).flatten().tolist() == [3.0, 3.0, 0.5, 0.5]
    assert Coupling().finish(ROUGH, ROUGH + 7).flatten().tolist() == [7.0, 7.0]


def test_gate_multiplies_by_the_probability_of_any_structure():
    # 1 - (1 - 1/2)^2 = 3/4 of the features remains.
    assert GateCoupling().join(FEATURES, ROUGH).flatten().tolist() == [2.25, 2.25, 0.5, 0.5]


def test_gate_of_a_softmax_reads_its_background():
    rough = torch.tensor([torch.log(torch.tensor(3.0)), 0.0]).view(1, 2, 1, 1)  # background 3/4
    joined = GateCoupling("multiclass").join(FEATURES, rough).flatten()
    torch.testing.assert_close(joined, torch.tensor([0.75, 0.75, 0.75, 0.25]))


def test_residual_adds_to_the_rough_logits():
    assert ResidualCoupling().finish(ROUGH + 1, ROUGH + 2).flatten().tolist() == [3.0, 3.0]


def test_stage2_needs_a_coupling():
    with pytest.raises(ValueError, match="coupling"):
        TwoStageNet(stage1=nn.Identity(), stage2=nn.Identity())
