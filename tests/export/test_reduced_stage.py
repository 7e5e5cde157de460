import numpy as np
import pytest
import torch

import nasoseg
from nasoseg.export import FORMATS, SUFFIX_OF, export_model
from nasoseg.inference import load_exported
from nasoseg.models import UNet


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit.* is deprecated")
@pytest.mark.parametrize("kind", FORMATS)
def test_a_rough_stage_at_half_resolution_is_exported(make_task, lively, tmp_path, kind):
    images, enliven = lively
    torch.manual_seed(0)
    stages = {"stage1": UNet(2, 3, depth=3, width=2), "stage2": UNet(5, 3, depth=2, width=2)}
    task = enliven(make_task(nasoseg.TwoStageUNet, width=2, stage1_scale=0.5, **stages))
    path = tmp_path / f"model{SUFFIX_OF[kind]}"
    export_model(task, path, kind=kind)
    if kind == "torchscript":
        run = torch.jit.load(path)
    else:
        model = load_exported(path)
        run = lambda shown: torch.from_numpy(model.structure_probabilities(shown.numpy()))  # noqa: E731
    with torch.no_grad():
        for shown in (images, images[:1, :, 3:100, 5:88], images[:2, :, 40:73, 30:94]):
            expected = task(shown).sigmoid()
            assert expected.std() > 0.05
            np.testing.assert_allclose(run(shown), expected, atol=1e-4)
