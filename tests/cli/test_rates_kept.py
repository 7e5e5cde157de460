"""Which settings of optimiser and schedule are compared when training goes on."""

from functools import partial

import pytest
import torch
from lightning.pytorch.cli import ReduceLROnPlateau
from torch.optim.lr_scheduler import CyclicLR, LambdaLR, LinearLR, OneCycleLR

from nasoseg.cli.run_continuity import check_resumable
from nasoseg.errors import NasosegError
from nasoseg.tasks.single import UNet

plateau = partial(ReduceLROnPlateau, monitor="val/loss", factor=0.5, patience=0)
cyclic = partial(CyclicLR, base_lr=0.001, max_lr=0.01, step_size_up=5)
once = partial(OneCycleLR, max_lr=0.01, total_steps=50)


class Counting(torch.optim.SGD):
    """Keep in its groups what it counts and estimates, as Prodigy does."""

    def __init__(self, params, lr=0.1, growth=2.0, **more):
        super().__init__(params, lr=lr, **more)
        for group in self.param_groups:
            group |= {"growth": growth, "steps": 0, "estimate": 1e-6}

    def step(self, closure=None):
        super().step(closure)
        for group in self.param_groups:
            group["steps"] += 1
            group["estimate"] *= group["growth"]


def task(optimizer, schedule):
    return UNet(["Brainstem"], width=2, optimizer=optimizer, lr_scheduler=schedule)


def trained(path, optimizer, schedule):
    """Write what Lightning keeps of a few steps."""
    model = task(optimizer, schedule)
    configured = model.configure_optimizers()
    optimizer = configured["optimizer"] if schedule else configured
    schedules = [configured["lr_scheduler"]["scheduler"]] if schedule else []
    for _ in range(3):
        sum(parameter.sum() for parameter in model.parameters()).backward()
        optimizer.step()
        for each in schedules:
            each.step(1.0) if isinstance(each, ReduceLROnPlateau) else each.step()
    checkpoint = {
        "state_dict": model.state_dict(),
        "optimizer_states": [optimizer.state_dict()],
        "lr_schedulers": [each.state_dict() for each in schedules],
    }
    torch.save(checkpoint, path)
    return path


sgd = partial(torch.optim.SGD, lr=0.001, momentum=0.9)


@pytest.mark.parametrize("optimizer", [sgd, partial(Counting, momentum=0.9), partial(torch.optim.Adam, lr=0.001)])
@pytest.mark.parametrize("schedule", [None, plateau, cyclic, once, LinearLR, partial(LambdaLR, lr_lambda=lambda e: e)])
def test_the_same_settings_go_on(tmp_path, optimizer, schedule):
    check_resumable(trained(tmp_path / "last.ckpt", optimizer, schedule), task(optimizer, schedule))


@pytest.mark.parametrize(
    ("optimizer", "schedule", "words"),
    [
        (partial(sgd, lr=0.01), plateau, "initial_lr of SGD: the config has 0.01, the checkpoint 0.001"),
        (sgd, partial(plateau, min_lr=1e-5), "min_lrs of ReduceLROnPlateau: the config has [1e-05], the checkpoint [0"),
        (sgd, partial(cyclic, max_lr=0.1), "max_lrs of CyclicLR: the config has [0.1], the checkpoint [0.01]"),
        (sgd, partial(cyclic, step_size_up=9), "total_size of CyclicLR: the config has 18.0, the checkpoint 10.0"),
        (sgd, partial(once, final_div_factor=10), "min_lr of SGD: the config has 4e-05, the checkpoint 4e-08"),
        (partial(Counting, growth=3.0), None, "growth of Counting: the config has 3.0, the checkpoint 2.0"),
        (partial(Counting, weight_decay=0.1), None, "weight_decay of Counting: the config has 0.1, the checkpoint 0"),
    ],
)
def test_another_setting_does_not_go_on(tmp_path, optimizer, schedule, words):
    known = {plateau.func: plateau, cyclic.func: cyclic, once.func: once}.get(getattr(schedule, "func", None))
    path = trained(tmp_path / "last.ckpt", Counting if optimizer.func is Counting else sgd, known)
    with pytest.raises(NasosegError) as found:
        check_resumable(path, task(optimizer, schedule))
    assert words in str(found.value)
