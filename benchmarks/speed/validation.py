"""Time the metrics: their share of an epoch, and each beside what else could measure it.

    python benchmarks/speed/validation.py [--slices 60] [--side 512] [--device cuda]

On a phantom whose predictions are its true masks moved by two pixels, with noise in the logits. *Share*: what the
network and each metric take of a validation epoch (the loss and DSC) and of a test (AUC and surfaces too). *DSC and
AUC*: against torchmetrics, per structure over slices from the middle of the volume: few, because torchmetrics' AUC with
200 thresholds takes minutes for sixty. *Surfaces*: HD95 and NSD of every structure from the masks, against MONAI and
DeepMind's surface-distance, with how far the values lie apart.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from options import parse, parser_of, peer, quiet, synchronise, wanted
from phantom import SLICE_MM, phantom
from results import Results
from timing import faster, take_turns
from torch import Tensor

import nasoseg
from nasoseg.data.windows import window_channels
from nasoseg.heads import expand_planes
from nasoseg.labels import OPENKBP
from nasoseg.metrics import OverlapMetrics, StreamingAUC, SurfaceMetrics, surface_distances

BATCH, TOLERANCE_MM, MOVED_PX = 8, 1.0, 2
ROWS = 32  # of an update of torchmetrics
KEY = "phantom"
NAMES = [structure.name for structure in OPENKBP]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure."""
    parser = parser_of(__doc__, rounds=3)
    parser.add_argument("--slices", type=int, default=60)
    parser.add_argument("--overlap-slices", type=int, default=8, help="slices for DSC and AUC against torchmetrics")
    parser.add_argument("--side", type=int, default=512, help="rows and columns")
    parser.add_argument("--width", type=int, default=16, help="channels of the network at full resolution")
    options = parse(parser, arguments)
    results = Results("validation", "Validation", settings=vars(options))
    patient = phantom(0, slices=options.slices, side=options.side)
    images = np.stack([window_channels(plane[..., None], [(-160.0, 240.0)]) for plane in patient.image])
    truth = expand_planes(torch.from_numpy(patient.labels.astype(np.int32)), len(NAMES))
    logits = plausible_logits(truth)
    spacing_mm = patient.geometry.spacing_mm
    case = {"images": torch.from_numpy(images), "truth": truth, "logits": logits}
    case = {name: tensor.to(options.device) for name, tensor in case.items()}
    shares(case, spacing_mm, options, results)
    overlap_and_auc(middle(case, options.overlap_slices), options, results)
    surfaces(logits.numpy() > 0, truth.numpy(), spacing_mm, options, results)
    results.write(options.out)


def plausible_logits(truth: Tensor) -> Tensor:
    """Return logits (z, k, h, w) of the truth moved by two pixels, with noise."""
    noise = torch.randn(truth[:BATCH].shape, generator=torch.Generator().manual_seed(0))
    moved = truth.roll((MOVED_PX, MOVED_PX), dims=(2, 3)).float() * 8 - 4
    return torch.cat([part + noise[: len(part)] for part in moved.split(BATCH)])


def middle(case: dict[str, Tensor], slices: int) -> dict[str, Tensor]:
    """Take so many slices from the middle of the volume, or all where it has fewer."""
    first = max(0, (len(case["truth"]) - slices) // 2)
    return {name: tensor[first : first + slices] for name, tensor in case.items()}


def batches(case: dict[str, Tensor]) -> Iterator[dict[str, Any]]:
    """Cut the volume into batches, as the data module does."""
    total = len(case["truth"])
    for start in range(0, total, BATCH):
        part = {name: tensor[start : start + BATCH] for name, tensor in case.items()}
        count = len(part["truth"])
        slices = torch.arange(start, start + count)
        yield part | {
            "of": {"annotated": torch.ones(count, len(NAMES), dtype=torch.bool, device=part["truth"].device),
                   "patients": [KEY] * count, "slices": slices},
        }  # fmt: skip


def shares(case: dict[str, Tensor], spacing_mm: Any, options: argparse.Namespace, results: Results) -> None:
    """Time network, loss and metrics of one volume, each by itself."""
    task = nasoseg.TwoStageUNet(labels=OPENKBP, width=options.width).to(options.device).eval()
    task.to(memory_format=torch.channels_last)
    spacing = torch.as_tensor(spacing_mm).expand(BATCH, 3)
    depth = len(case["truth"])

    @torch.no_grad()
    def network() -> None:
        for batch in batches(case):
            task(batch["images"])

    def loss() -> None:
        for batch in batches(case):
            task.staged_loss.loss(batch["logits"], batch["truth"], batch["of"]["annotated"]).item()

    def overlap() -> None:
        metric = OverlapMetrics([KEY], NAMES).to(options.device)
        for batch in batches(case):
            masks = batch["logits"] > 0
            metric.update(masks, batch["logits"].sigmoid(), batch["truth"], **batch["of"])
        metric.compute().summary("volume")

    def auc() -> None:
        _streamed_auc(case, options.device)

    def surface() -> None:
        metric = SurfaceMetrics([KEY], NAMES, depths={KEY: depth}).to(options.device)
        for batch in batches(case):
            masks = batch["logits"] > 0
            metric.update(masks, batch["truth"], spacing_mm=spacing[: len(masks)], **batch["of"])
        metric.compute()

    ways: dict[str, Callable[[], None]] = {"network": network, "loss": loss, "overlap": overlap, "AUC": auc}
    ways["surfaces"] = surface
    with torch.no_grad():
        turns = take_turns(ways, rounds=options.rounds, synchronise=lambda: synchronise(options.device))
    seconds = {name: each.seconds(options.clock, options.pick) for name, each in turns.items()}
    rows = []
    for epoch, parts in (("validation", ("network", "loss", "overlap")), ("test", tuple(ways))):
        parts = tuple(part for part in parts if not (epoch == "test" and part == "loss"))
        total = sum(seconds[part] for part in parts)
        metrics = sum(seconds[part] for part in parts if part not in ("network", "loss"))
        rows.append(
            {"epoch": epoch, **{f"{part}, ms a slice": 1000 * seconds[part] / depth for part in parts},
             "metrics' share": metrics / total}
        )  # fmt: skip
        results.add_headline(f"{epoch}: metrics' share", f"{metrics / total:.1%}", "", "", aim="5 %")
    results.add_table(f"Share of an epoch, TwoStageUNet, {depth} slices of {options.side} x {options.side}", rows)


def overlap_and_auc(case: dict[str, Tensor], options: argparse.Namespace, results: Results) -> None:
    """Compare DSC and AUC with torchmetrics."""
    ways: dict[str, Callable[[], Tensor]] = {
        "nasoseg, all overlap metrics": lambda: _dsc(case, options.device),
        "nasoseg, AUC": lambda: _streamed_auc(case, options.device),
    }
    torchmetrics = peer("torchmetrics", results, what="torchmetrics")
    if torchmetrics:
        from torchmetrics.classification import MultilabelAUROC
        from torchmetrics.segmentation import DiceScore

        def dice() -> Tensor:
            metric = DiceScore(len(NAMES), average="none", input_format="one-hot", aggregation_level="global")
            return _run(metric.to(options.device), case, lambda logits: logits > 0)

        def exact() -> Tensor:
            return _run(MultilabelAUROC(len(NAMES), average="none").to(options.device), case, Tensor.sigmoid)

        def binned() -> Tensor:
            metric = MultilabelAUROC(len(NAMES), average="none", thresholds=200).to(options.device)
            return _run(metric, case, Tensor.sigmoid)

        ways |= {"torchmetrics, DiceScore": dice, "torchmetrics, AUROC": exact, "torchmetrics, AUROC 200": binned}
    chosen = {name: way for name, way in ways.items() if wanted(name, options)}
    bases = {name: "nasoseg, AUC" if "AU" in name else "nasoseg, all overlap metrics" for name in chosen}
    compare(f"DSC and AUC of {len(case['truth'])} slices", chosen, bases, options, results)


def surfaces(predicted: Any, truth: Any, spacing_mm: Any, options: argparse.Namespace, results: Results) -> None:
    """Compare HD95 and NSD with MONAI and surface-distance."""
    pairs = [(np.ascontiguousarray(predicted[:, k]), np.ascontiguousarray(truth[:, k])) for k in range(len(NAMES))]
    spacing = tuple(float(side) for side in spacing_mm)

    def ours() -> Tensor:
        found = [surface_distances(*pair, spacing_mm=spacing) for pair in pairs]
        return torch.tensor([[each.hd95, each.nsd(TOLERANCE_MM)] for each in found], dtype=torch.float64)

    ways: dict[str, Callable[[], Tensor]] = {"nasoseg, HD95 and NSD": ours}
    deepmind_way, monai_way = "surface-distance, HD95 and NSD", "MONAI, HD95 and NSD"
    if wanted(deepmind_way, options) and (
        surface_distance := peer("surface_distance", results, what="surface-distance", package="surface-distance")
    ):

        def deepmind() -> Tensor:
            found = [surface_distance.compute_surface_distances(b, a, spacing) for a, b in pairs]
            values = [
                (surface_distance.compute_robust_hausdorff(each, 95),
                 surface_distance.compute_surface_dice_at_tolerance(each, TOLERANCE_MM)) for each in found
            ]  # fmt: skip
            return torch.tensor(values, dtype=torch.float64)

        ways[deepmind_way] = deepmind
    if wanted(monai_way, options) and (
        monai := peer("monai.metrics", results, what="MONAI's metrics", package="monai")
    ):

        def of_monai() -> Tensor:
            values = []
            for a, b in pairs:
                two = [torch.from_numpy(mask)[None, None].to(options.device) for mask in (a, b)]
                hd = monai.compute_hausdorff_distance(*two, include_background=True, percentile=95, spacing=spacing)
                nsd = monai.compute_surface_dice(*two, [TOLERANCE_MM], include_background=True, spacing=spacing)
                values.append((float(hd), float(nsd)))
            return torch.tensor(values, dtype=torch.float64)

        ways[monai_way] = of_monai
    title = f"Surfaces of {len(pairs)} structures, slices {SLICE_MM} mm apart"
    chosen = {name: way for name, way in ways.items() if wanted(name, options)}
    compare(title, chosen, dict.fromkeys(chosen, "nasoseg, HD95 and NSD"), options, results)


def compare(
    title: str,
    ways: dict[str, Callable[[], Tensor]],
    bases: dict[str, str],
    options: argparse.Namespace,
    results: Results,
) -> None:
    """Let ways take turns, and compare each with one of ours: ``bases`` says with which."""
    with quiet(), torch.no_grad():
        values = {name: way().double().cpu() for name, way in ways.items()}
        turns = take_turns(ways, rounds=options.rounds, synchronise=lambda: synchronise(options.device), warm=False)
    rows = []
    for name, each in turns.items():
        base = bases[name]
        row: dict[str, Any] = {"by": name, "ms": 1000 * each.seconds(options.clock, options.pick)}
        if base in turns and name != base:
            ratio = faster(turns[base], each, clock=options.clock, pick=options.pick)
            apart = float((values[name] - values[base]).abs().nan_to_num().max())
            row |= {"nasoseg is faster by": str(ratio), "largest difference": f"{apart:.1g}"}
            aim = "5" if name.startswith("MONAI") else ""
            results.add_headline(f"{title}: {base}", f"{1000 * turns[base].seconds(options.clock):.0f} ms",
                                 f"{name} {row['ms']:.0f}", ratio, aim=aim)  # fmt: skip
        rows.append(row)
    results.add_table(title, rows)


def _dsc(case: dict[str, Tensor], device: str) -> Tensor:
    metric = OverlapMetrics([KEY], NAMES).to(device)
    for batch in batches(case):
        metric.update(batch["logits"] > 0, batch["logits"].sigmoid(), batch["truth"], **batch["of"])
    return metric.compute().volume["dsc"][0]


def _streamed_auc(case: dict[str, Tensor], device: str) -> Tensor:
    metric = StreamingAUC([KEY], NAMES).to(device)
    for batch in batches(case):
        metric.update(batch["logits"], batch["truth"], **batch["of"])
    return metric.compute().volume["auc"][0]


def _run(metric: Any, case: dict[str, Tensor], seen: Callable[[Tensor], Tensor]) -> Tensor:
    """Feed one of torchmetrics' the volume, and return its values (k,)."""
    # Few rows at a time: AUROC with thresholds holds some words for every pixel, structure and threshold of an update.
    for planes, truths in zip(case["logits"].split(1), case["truth"].split(1), strict=True):
        for logits, target in zip(planes.split(ROWS, dim=2), truths.split(ROWS, dim=2), strict=True):
            predicted = seen(logits)
            metric.update(predicted, target.int() if predicted.is_floating_point() else target)
    result: Tensor = metric.compute()
    return result


if __name__ == "__main__":
    main()
