"""Stores, splits, runs, results and configs as seeds."""

import json
from pathlib import Path

import torch
import yaml
from material import Format, Material
from mutations import damage, damage_text, inside_zip
from safetensors.torch import save_file
from structured import edit_hdf5

import nasoseg
from nasoseg.comparison.plan import read_plan
from nasoseg.data.splits import Split, make_split
from nasoseg.data.store import Store, write_store
from nasoseg.data.training_data import Range, TrainingData, read_training_data
from nasoseg.evaluation.results import COLUMNS, read_results
from nasoseg.structure_map import load_structure_map
from nasoseg.tasks.loading import load

_LABELS = ["Brainstem", "Mandible"]
_RANGE = Range(1.0, 2.5, 3.0)
_TRAINING = TrainingData(((-160.0, 240.0),), 1, 9, _RANGE, _RANGE, _RANGE, {"Mandible": _RANGE})


def _write_store(folder: Path, material: Material) -> list[str]:
    keys = material.store.keys[:2]
    write_store(folder / "store.h5", (material.store.patient(key) for key in keys), material.store.structures)
    return ["store.h5"]


def _read_store(path: Path) -> None:
    """Do what ``nasoseg check`` and training do."""
    with Store(path) as store:
        store.check_header()
        for key in store.keys:
            store.check(key)
            patient = store.patient(key)
            assert patient.image.shape == store.geometry(key).shape


def _write_splits(folder: Path, material: Material) -> list[str]:
    for protocol in ("clean", "paper"):
        make_split(material.store, folds=4, protocol=protocol).save(folder / f"{protocol}.json")
    return ["clean.json", "paper.json"]


def _read_split(path: Path) -> None:
    split = Split.load(path)
    for fold in range(len(split.folds)):
        for part in ("train", "validation", "test"):
            split.part(fold, part)


def _write_run(folder: Path, files: list[str]) -> list[str]:
    torch.manual_seed(0)
    model = nasoseg.UNet(_LABELS, in_channels=3, width=4, depth=2)
    run = folder / "run"
    (run / "checkpoints").mkdir(parents=True)
    saved = {"state_dict": model.state_dict(), "training_data": _TRAINING.as_dict(), "epoch": 3}
    torch.save(saved, run / "checkpoints" / "best.ckpt")
    save_file(model.state_dict(), run / "checkpoints" / "best.safetensors")
    config = {
        "run": "runs/x",
        "seed_everything": 0,
        "model": {"class_path": "nasoseg.UNet", "init_args": {"width": 4, "depth": 2, "head": "multilabel"}},
        "data": {"labels": _LABELS, "windows_hu": [[-160.0, 240.0]], "context": 1, "fold": 0},
        "trainer": {"max_epochs": 22, "precision": "32-true"},
    }
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    (run / "training_data.json").write_text(json.dumps(_TRAINING.as_dict()))
    return [f"run/{name}" for name in files]


def _read_weights(path: Path) -> None:
    load(path, model=nasoseg.UNet(_LABELS, in_channels=3, width=4, depth=2))


def _read_config(path: Path) -> None:
    load(path.parent / "checkpoints" / "best.ckpt")


def _write_results(folder: Path, material: Material) -> list[str]:
    rows = [",".join(COLUMNS)]
    for patient in ("pt_1", "pt_2", 'é, "x"'):
        quoted = '"{}"'.format(patient.replace('"', '""'))
        rows += [
            f"unet,clean,0,{'a' * 12},{'b' * 12},{quoted},{structure},volume,dsc,{value}"
            for structure, value in (("Mandible", "0.91"), ("Larynx", "nan"))
        ]
    rows.append(f"unet,clean,0,{'a' * 12},{'b' * 12},,Mandible,pooled,auc,0.5")
    (folder / "metrics.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return ["metrics.csv"]


def _read_results(path: Path) -> None:
    read_results([path])


def _write_structures(folder: Path, _: Material) -> list[str]:
    (folder / "mine.yaml").write_text(
        """extends: shipped
structures:
  PTV_A:
    type: PTV
    colour: [1, 2, 3]
    patterns: ['ptv[ _-]?a(?:[.,]0)?']
  Nodes: {synonyms: [Lymphknoten, "LK links"], tg263: LN_Neck}
pairs:
  Cochlea: {synonyms: [Schnecke]}
names: {"Myelon neu": SpinalCord, Couch: ignore, Foo: null}
ignore: ['zz*', 'help?']
sets:
  ours: [PTV_A, SpinalCord, Cochlea_L]
""",
        encoding="utf-8",
    )
    return ["mine.yaml"]


def _read_structures(path: Path) -> None:
    mapped = load_structure_map(path)
    mapped.assign(["PTV a", "Parotis li", "Myelon neu", "a" * 64, "zz1", "LK links", "schnecke re"])
    for name in mapped.sets:
        mapped.sets[name]


def _write_benchmark(folder: Path, _: Material) -> list[str]:
    for name in ("shared", "unet", "nnunet"):
        (folder / f"{name}.yaml").write_text("nnunet: {epochs: 3}\n" if name == "nnunet" else "model: {}\n")
    config = {
        "store": "sample",
        "shared": ["shared.yaml"],
        "methods": {"U-Net": "unet.yaml", "nnU-Net": "nnunet.yaml"},
        "protocols": {"clean": ["U-Net", "nnU-Net"], "paper": ["U-Net"]},
        "folds": 4,
        "seed": 7,
        "only_folds": [0, 1],
        "reference": "U-Net",
        "organs": ["Mandible"],
        "slurm": {"timeout_min": 60},
    }
    (folder / "plan.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    return ["plan.yaml", "nnunet.yaml"]


def _read_benchmark(path: Path) -> None:
    read_plan(path.parent / "plan.yaml")


_TEXT = (damage_text, damage_text, damage)

PLAIN = {
    "store": Format(_write_store, (damage, edit_hdf5, edit_hdf5), _read_store),
    "split": Format(_write_splits, _TEXT, _read_split),
    "checkpoint": Format(
        lambda folder, _: _write_run(folder, ["checkpoints/best.ckpt"]), (damage, inside_zip(damage)), _read_weights
    ),
    "safetensors": Format(
        lambda folder, _: _write_run(folder, ["checkpoints/best.safetensors"]), (damage, damage_text), _read_weights
    ),
    "run_config": Format(lambda folder, _: _write_run(folder, ["config.yaml"]), _TEXT, _read_config),
    "training_data": Format(lambda folder, _: _write_run(folder, ["training_data.json"]), _TEXT, read_training_data),
    "results": Format(_write_results, _TEXT, _read_results),
    "structures": Format(_write_structures, _TEXT, _read_structures),
    "benchmark": Format(_write_benchmark, _TEXT, _read_benchmark),
}
