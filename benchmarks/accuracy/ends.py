"""Show how much of a model's error is where contours end, and how differently they were drawn.

    python benchmarks/accuracy/ends.py RUN [RUN ...] [--part test] [--store openkbp.h5] [--bfloat16]

Every run folder predicts its own validation or test patients; patients of several folds are counted together. Columns,
per structure: ``patients`` that have it; ``DSC`` per patient volume, their mean; ``ends known``, the same if the model
were told on which slices the structure was drawn, and were silent on the others; ``beyond``, the share of its false
voxels that lie on those others; ``height``, from the lowest drawn slice to the highest, mm; ``area``, predicted over
drawn voxels on the drawn slices. Of the last two the 10th and the 90th percentile over patients. No setting of a model
should be chosen by the test part.
"""

import argparse
import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import nasoseg
from nasoseg.errors import NasosegError
from nasoseg.heads import decide, expand_planes
from nasoseg.yaml_files import read_yaml

TARGETS = ("PTV", "CTV", "GTV", "ITV")  # decisions more than anatomy: not among the organs
DATA = ("store", "labels", "fold", "folds", "protocol", "seed", "batch_size", "windows_hu", "context")  # of a config


def main(arguments: Sequence[str] | None = None) -> None:
    """Predict, count and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run folder of nasoseg fit")
    parser.add_argument("--part", choices=("validation", "test"), default="validation", help="of each run's fold")
    parser.add_argument("--store", help="the store, where it is not at the path of the run's config")
    parser.add_argument("--bfloat16", action="store_true", help="compute as a run of bf16-mixed does")
    options = parser.parse_args(arguments)
    try:
        rows = pd.DataFrame([row for run in options.runs for row in counted(run, options)])
    except NasosegError as error:
        parser.exit(1, f"{error}\n")
    print(table(rows).to_string(float_format="{:.3f}".format))


def counted(run: Path, options: argparse.Namespace) -> Iterator[dict[str, float | str]]:
    """Yield what was counted of every structure that a patient of the run's part has."""
    task = nasoseg.load(run)
    config = read_yaml(run / "config.yaml", kind="a run's config")["data"]
    settings = {name: config[name] for name in DATA if name in config}
    settings["store"] = options.store or settings["store"]
    data = nasoseg.SliceDataModule(**settings, split=run / "split.json")
    data.prepare_data()
    data.setup("validate")
    if data.split.protocol != "clean":
        raise NasosegError(f"{run}: its split deals slices (protocol {data.split.protocol}): expected whole patients")
    batches = data.val_dataloader() if options.part == "validation" else data.test_dataloader()
    sums: dict[str, list[np.ndarray]] = {}
    annotated: dict[str, np.ndarray] = {}
    mixed = torch.autocast("cpu", torch.bfloat16) if options.bfloat16 else contextlib.nullcontext()
    for batch in batches:
        with torch.inference_mode(), mixed:
            found = decide(task(batch["image"]), task.head)
        drawn = expand_planes(batch["labels"], len(task.labels)).bool()
        each = torch.stack([found & drawn, found, drawn]).sum(dim=(-2, -1)).numpy()  # (3, slices, structures)
        for number, patient in enumerate(batch["patient"]):
            sums.setdefault(patient, []).append(each[:, number])
            annotated[patient] = batch["annotated"][number].numpy()
    for patient, slices in sums.items():
        volume = np.stack(slices, axis=-1)  # (3, structures, slices)
        millimetres = float(data.store.geometry(patient).spacing_mm[0])
        for i in np.flatnonzero(annotated[patient] & volume[2].any(axis=-1)):
            yield {"structure": task.labels[i], **measured(*volume[:, i], slice_mm=millimetres)}


def measured(hit: np.ndarray, found: np.ndarray, drawn: np.ndarray, *, slice_mm: float) -> dict[str, float]:
    """Measure one structure of one patient.

    Args:
        hit: (slices,) voxels both drawn and predicted.
        found: (slices,) voxels predicted.
        drawn: (slices,) voxels drawn; not 0 everywhere.
        slice_mm: Distance of two slices.
    """
    where = np.flatnonzero(drawn)
    inside = found[where].sum()
    return {
        "DSC": 2 * hit.sum() / (found.sum() + drawn.sum()),
        "ends known": 2 * hit.sum() / (inside + drawn.sum()),
        "false": found.sum() - hit.sum(),
        "outside": found.sum() - inside,
        "height": (where[-1] - where[0] + 1) * slice_mm,
        "area": inside / drawn.sum(),
    }


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row a structure, and the mean over the organs."""
    of = rows.groupby("structure")
    result = of[["DSC", "ends known"]].mean()
    result["beyond"] = of["outside"].sum() / of["false"].sum().clip(lower=1)
    organs = result[~result.index.str.startswith(TARGETS)].mean()
    result.insert(0, "patients", of.size().astype(str))
    for name, form in (("height", "{:.0f} to {:.0f}"), ("area", "{:.2f} to {:.2f}")):
        low, high = (of[name].quantile(share) for share in (0.1, 0.9))
        result[name] = [form.format(*ends) for ends in zip(low, high, strict=True)]
    result.loc["organs"] = {**dict.fromkeys(result.columns, ""), **organs}
    return result


if __name__ == "__main__":
    main()
