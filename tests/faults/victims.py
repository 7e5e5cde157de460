"""The commands that faults befall: what a user types to begin or to go on, and what must be there at the end."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from safetensors.torch import load_file

from nasoseg.data.store import Store
from nasoseg.tasks.checkpoints import load_checkpoint


@dataclass
class Victim:
    """A command.

    Attributes:
        arguments: What a user types, given the folder that all is written to: to begin, or to go on with what is there.
        results: Reads what the folder holds at the end, so that two ends can be compared.
    """

    arguments: Callable[[Path], list[object]]
    results: Callable[[Path], Any]


def weights(path: Path) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in load_checkpoint(path)["state_dict"].items()}


def prepare(studies: Path) -> Victim:
    def arguments(home: Path) -> list[object]:
        finished = ["--force"] if (home / "s.h5").exists() else []
        return ["prepare", "nifti", studies, home / "s.h5", "--size", 32, "--workers", 1, *finished]

    def results(home: Path) -> Any:
        assert [path.name for path in home.iterdir()] == ["s.h5"]  # no part stays
        with Store(home / "s.h5") as store:
            return store.content_sha256, store.keys

    return Victim(arguments, results)


def fit(config: Path, *more: object) -> Victim:
    def arguments(home: Path) -> list[object]:
        checkpoints = home / "run" / "checkpoints"
        begun = (checkpoints / "last.ckpt").exists() or (checkpoints / "previous.ckpt").exists()
        how = ["--ckpt_path", "last"] if begun else ["--force", "true"]
        return ["fit", "--config", config, "--run", home / "run", *how, *more]

    return Victim(arguments, fit_results)


def fit_results(home: Path) -> Any:
    run = home / "run"
    shared = load_file(run / "checkpoints" / "best.safetensors")
    best = weights(run / "checkpoints" / "best.ckpt")
    assert {name: tensor.numpy().tobytes() for name, tensor in shared.items()} == best
    kept = [best, *(weights(run / "checkpoints" / name) for name in ("last.ckpt", "previous.ckpt"))]
    return kept, (run / "metrics.csv").read_bytes(), (run / "split.json").read_bytes()


def segment(run: Path, studies: Path, scans: Path) -> Victim:
    """Three scans, which are copied to ``scans``; those that are done are left alone."""
    scans.mkdir()
    names = ["case 0", "case 1", "case 2"]
    for name in names:
        shutil.copy(studies / name / "ct.nii.gz", scans / f"{name}.nii.gz")

    def results(home: Path) -> Any:
        out = home / "out"
        assert {path.name for path in out.iterdir()} == {*names, "summary.csv"}
        found = {path.relative_to(out): path.read_bytes() for path in out.glob("*/*.nii.gz")}
        return found, sorted((out / "summary.csv").read_text().splitlines())

    return Victim(lambda home: ["segment", run, scans, home / "out", "--skip-existing"], results)


def report(run: Path) -> Victim:
    def arguments(home: Path) -> list[object]:
        finished = ["--force"] if (home / "page" / "report.html").exists() else []
        return ["report", run, "--out", home / "page", *finished]

    return Victim(arguments, lambda home: (home / "page" / "report.html").read_bytes())


def benchmark(config: Path) -> Victim:
    return Victim(lambda home: ["benchmark", config, "--out", home / "out"], benchmark_results)


def benchmark_results(home: Path) -> Any:
    run = home / "out" / "clean" / "unet" / "fold0"
    masks = {path.relative_to(run): path.read_bytes() for path in (run / "predictions").rglob("*.nii.gz")}
    assert masks
    assert (home / "out" / "report" / "comparison.md").is_file()
    tables = {path.name: path.read_bytes() for path in (home / "out" / "report").glob("*.csv")}
    return (run / "metrics.csv").read_bytes(), weights(run / "checkpoints" / "best.ckpt"), masks, tables


def write_benchmark(folder: Path, fit_config: Path) -> Path:
    """Write a benchmark of the one method of a config, on one fold."""
    plan = yaml.safe_load(fit_config.read_text())
    folder.mkdir()
    (folder / "method.yaml").write_text(yaml.safe_dump({"model": plan["model"]}))
    data = {key: value for key, value in plan["data"].items() if key not in ("store", "folds")}
    (folder / "shared.yaml").write_text(yaml.safe_dump({"data": data, "trainer": plan["trainer"]}))
    config = {"store": plan["data"]["store"], "shared": "shared.yaml", "methods": {"unet": "method.yaml"}}
    config |= {"folds": plan["data"]["folds"], "only_folds": [0], "protocols": "clean"}
    (folder / "benchmark.yaml").write_text(yaml.safe_dump(config))
    return folder / "benchmark.yaml"
