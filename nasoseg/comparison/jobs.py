"""The jobs of a benchmark: each a plain `nasoseg fit`, `test` and `predict` that can be rerun by hand."""

import sys
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import yaml

from nasoseg.comparison.plan import Method, Plan
from nasoseg.data.splits import Protocol, Split
from nasoseg.errors import NasosegError
from nasoseg.locks import file_lock
from nasoseg.tasks.checkpoints import LAST, PREVIOUS

Command = tuple[str, ...]

_FLAGS = ("--create-environment", "--force")  # of `nasoseg nnunet`, which take no value: left out where they are false


@dataclass(frozen=True)
class Job:
    """Hold one method on one fold under one protocol.

    Attributes:
        method: The method's name.
        protocol: ``clean`` or ``paper``.
        fold: The fold that is tested.
        run: Its run folder.
        arguments: Of `nasoseg fit`, as the plan gives them; the resolved config is made from them. For nnU-Net, of
            `nasoseg nnunet`.
        nnunet: Whether this is nnU-Net's.
    """

    method: str
    protocol: Protocol
    fold: int
    run: Path
    arguments: tuple[str, ...]
    nnunet: bool = False

    @property
    def name(self) -> str:
        """Word the job: protocol, method and fold."""
        return f"{self.protocol}/{self.method}/fold{self.fold}"

    @property
    def config(self) -> Path:
        """The resolved config, beside the run folder."""
        return self.run.with_name(self.run.name + ".yaml")

    @property
    def log(self) -> Path:
        """What its commands print, beside the run folder."""
        return self.run.with_name(self.run.name + ".log")

    @property
    def trained(self) -> bool:
        """Whether training has been finished: the weights that are shared are written last."""
        return (self.run / "checkpoints" / "best.safetensors").is_file()

    @property
    def done(self) -> bool:
        """Whether it has been tested, and its predictions are there where they can be."""
        return (self.run / "metrics.csv").is_file() and self._predicted

    @property
    def _predicted(self) -> bool:
        if (
            self.protocol == "paper" or self.nnunet
        ):  # single slices make no volume; nnU-Net's are there when it is tested
            return True
        try:
            split = Split.load(self.run / "split.json")
            labels = yaml.safe_load((self.run / "config.yaml").read_text(encoding="utf-8"))["data"]["labels"]
        except (NasosegError, OSError, yaml.YAMLError, KeyError, TypeError):
            return False
        folders = [self.run / "predictions" / key for key in split.part(self.fold, "test")]
        return all((folder / f"{name}.nii.gz").is_file() for folder in folders for name in labels)

    def commands(self) -> list[Command]:
        """List what is left to do."""
        base = (sys.executable, "-m", "nasoseg")
        if self.nnunet:
            return [] if self.done else [(*base, "nnunet", *self.arguments)]
        left: list[Command] = []
        if not self.trained:
            resume = any((self.run / "checkpoints" / name).is_file() for name in (LAST, PREVIOUS))
            # What a run killed before its first checkpoint left is written over.
            how = ("--ckpt_path", "last") if resume else ("--force", "true")
            left.append((*base, "fit", "--config", str(self.config), *how))
        if not (self.run / "metrics.csv").is_file():
            left.append((*base, "test", "--config", str(self.config)))
        if not self._predicted:
            left.append((*base, "predict", "--config", str(self.config), "--force", "true"))
        return left

    def claimed(self) -> AbstractContextManager[int | None]:
        """Hold the job's lock; the ``with`` block is given None where another process holds it.

        Else it is given a descriptor. What is started with it holds the lock too: a training that outlives a killed
        benchmark is not started a second time.
        """
        return file_lock(self.run.with_name(self.run.name + ".lock"))


def make_jobs(plan: Plan, overrides: tuple[str, ...] = ()) -> list[Job]:
    """Make the jobs of a plan, fold by fold, so that every method has something early.

    Args:
        plan: The plan.
        overrides: Further arguments of every `nasoseg fit`.
    """
    methods = {method.name: method for method in plan.methods}
    return [
        _job(plan, methods[name], protocol, fold, overrides)
        for protocol, names in plan.protocols.items()
        for fold in plan.only_folds
        for name in names
    ]


def _job(plan: Plan, method: Method, protocol: Protocol, fold: int, overrides: tuple[str, ...]) -> Job:
    run = plan.out / protocol / method.name / f"fold{fold}"
    split = str(plan.split_path(protocol))
    if method.nnunet is not None:
        options = [part for key, value in method.nnunet.items() for part in _option(key, value)]
        named = ("--split", split, "--fold", str(fold), "--run", str(run), "--method", method.name)
        return Job(method.name, protocol, fold, run, (plan.store, *named, *options), nnunet=True)
    configs = [part for path in (*plan.shared, method.config) for part in ("--config", str(path))]
    data = ("--data.store", plan.store, "--data.split", split, "--data.fold", str(fold))
    rest = ("--run", str(run), "--method", method.name, "--test_at_end", "false")
    return Job(method.name, protocol, fold, run, (*configs, *overrides, *data, *rest))


def _option(key: str, value: object) -> list[str]:
    name = "--" + key.replace("_", "-")
    if value is None or (value is False and name in _FLAGS):
        return []
    return [name] if value is True else [name, str(value).lower() if value is False else str(value)]
