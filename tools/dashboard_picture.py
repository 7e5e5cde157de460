"""The picture in docs/wandb.md: the dashboard that it describes, drawn from a benchmark's own run folders.

python tools/dashboard_picture.py runs/comparison/clean --case two_stage
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from matplotlib.figure import Figure

from nasoseg.data.store import Store
from nasoseg.report.sample_patients import find_predictions, read_patient

PICTURE = Path(__file__).parent.parent / "docs" / "pictures" / "wandb.png"
SHOWN = ("Brainstem", "SpinalCord", "RightParotid", "LeftParotid", "Larynx", "Mandible")
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # of Okabe and Ito


def main() -> None:
    """Draw it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, help="folder of a protocol in a benchmark's folder: METHOD/foldN in it")
    parser.add_argument("--case", default="two_stage", help="the method whose masks are drawn over a slice")
    arguments = parser.parse_args()
    runs = {
        path.parent.name: path for path in sorted(arguments.runs.glob("*/fold0")) if (path / "metrics.csv").exists()
    }
    figure = Figure(figsize=(12, 7.6), dpi=100, layout="constrained")
    grid = figure.add_gridspec(3, 4, width_ratios=(1.05, 1, 1, 1))
    _list(figure.add_subplot(grid[0, 0]), runs)
    _curves(figure.add_subplot(grid[0, 1]), runs, "val/dsc", "1  val/dsc")
    _bars(figure.add_subplot(grid[0, 2]), runs)
    _curves(figure.add_subplot(grid[0, 3]), runs, "train/loss", "5  train/loss")
    inner = grid[1, 0:3].subgridspec(1, len(SHOWN))
    for place, name in enumerate(SHOWN):
        title = f"3  {name}" if place == 0 else name
        _curves(figure.add_subplot(inner[0, place]), runs, f"val/dsc/{name}", title, legend=False)
    _curves(figure.add_subplot(grid[1, 3]), runs, "images/s", "6  images/s", legend=False)
    _panels([figure.add_subplot(place) for place in grid[2, 0:2].subgridspec(1, 3)], runs[arguments.case])
    _table(figure.add_subplot(grid[2, 2:4]), runs)
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE)
    print(f"{PICTURE}: {PICTURE.stat().st_size // 1024} KiB")


def _list(axes: Any, runs: dict[str, Path]) -> None:
    axes.set_axis_off()
    axes.set_title("runs, grouped", loc="left", fontsize=9, fontweight="bold")
    for row, (method, colour) in enumerate(zip(runs, COLOURS, strict=False)):
        at = 0.9 - 0.15 * row
        axes.plot([0.02], [at], "o", color=colour, transform=axes.transAxes)
        axes.text(0.08, at, f"{method}, clean", va="center", fontsize=9, transform=axes.transAxes)
        axes.text(0.98, at, str(len(list(runs[method].parent.glob("fold*/metrics.csv")))), va="center", ha="right",
                  fontsize=9, transform=axes.transAxes)  # fmt: skip
    text = "filter: config.split.sha256\ntags: clean"
    axes.text(0.02, 0.02, text, fontsize=8, color="#555555", transform=axes.transAxes)


def _curves(axes: Any, runs: dict[str, Path], key: str, title: str, *, legend: bool = True) -> None:
    for (method, run), colour in zip(runs.items(), COLOURS, strict=False):
        log = pd.concat(pd.read_csv(path) for path in sorted(run.glob("logs*/metrics.csv")))
        found = log[["epoch", key]].dropna()
        axes.plot(found["epoch"] + 1, found[key], "o-", color=colour, markersize=3, linewidth=1.2, label=method)
    axes.set_title(title, loc="left", fontsize=9, fontweight="bold")
    axes.set_xlabel("epoch", fontsize=8)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.tick_params(labelsize=8)
    if legend:
        axes.legend(fontsize=7, frameon=False)


def _results(run: Path) -> pd.DataFrame:
    rows = pd.read_csv(run / "metrics.csv")
    return rows[(rows["averaging"] == "volume") & (rows["metric"] == "dsc")]


def _bars(axes: Any, runs: dict[str, Path]) -> None:
    means = [_results(run).groupby("structure")["value"].mean().mean() for run in runs.values()]
    axes.barh(list(runs), means, color=COLOURS[: len(runs)])
    axes.invert_yaxis()
    axes.set_title("2  test/dsc", loc="left", fontsize=9, fontweight="bold")
    axes.tick_params(labelsize=8)
    for row, mean in enumerate(means):
        axes.text(mean, row, f"{mean:.3f} ", va="center", ha="right", fontsize=8, color="white")


def _panels(places: list[Any], run: Path) -> None:
    """Draw CT, truth and prediction of the first predicted patient, on the slice with most structures."""
    config = yaml.safe_load((run / "config.yaml").read_text())
    folders = find_predictions([run / "predictions"], SHOWN)
    with Store(config["data"]["store"]) as store:
        patient = read_patient(store, min(folders), predictions={run.parent.name: folders}, structures=SHOWN)
    (h, w), (dy, dx) = patient.image.shape, patient.spacing_mm
    left, right, top, bottom = patient.box_mm
    shown = (None, patient.truth, patient.predicted[run.parent.name])
    for axes, title, contours in zip(places, ("7  panels/1", "truth", "prediction"), shown, strict=True):
        extent = (-dx / 2, (w - 0.5) * dx, (h - 0.5) * dy, -dy / 2)
        axes.imshow(np.clip(patient.image, -160, 240), cmap="gray", extent=extent)
        for name, colour in zip(SHOWN, COLOURS, strict=True):
            if contours is not None and name in contours.visible:
                where = contours.columns_mm, contours.rows_mm
                axes.contour(*where, contours.masks[name], [0.5], colors=[colour], linewidths=1)
        axes.set(xlim=(left, right), ylim=(bottom, top))
        axes.set_axis_off()
        axes.set_title(title, loc="left", fontsize=9, fontweight="bold" if contours is None else "normal")


def _table(axes: Any, runs: dict[str, Path]) -> None:
    rows = pd.concat(_results(run).assign(method=method) for method, run in runs.items())
    worst = rows[rows["structure"].isin(SHOWN)].nsmallest(6, "value")[["method", "patient", "structure", "value"]]
    axes.set_axis_off()
    axes.set_title("8  metrics, sorted by value: the worst cases", loc="left", fontsize=9, fontweight="bold")
    drawn = axes.table(worst.round(3).values.tolist(), colLabels=list(worst.columns), loc="center", cellLoc="left")
    drawn.auto_set_font_size(False)
    drawn.set_fontsize(8)


if __name__ == "__main__":
    main()
