"""Time a study from its file to masks on disk: ours in PyTorch, compiled and exported, and nnU-Net's predictor.

    python benchmarks/speed/inference.py [--slices 150] [--threads 2] [--device cuda]

A phantom of 512 x 512 pixels and ten structures as NIfTI; random weights; mirroring off; ours in float32 unless it says
bfloat16. Ours writes a mask a structure, nnU-Net one label map. nnU-Net's predictor runs a PlainConvUNet of the levels
and channels of our U-Net, on patches as large as the slices. An untrained network sees nothing or noise, so that
writing would take no time or all of it: every network is run, its result waited for, and the true masks handed on in
its place, in the same form.
"""

import argparse
import functools
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from memory import peak_mib
from networks import forward_flops, networks, plain_conv_settings
from options import parse, parser_of, peer, quiet, synchronise, wanted
from phantom import phantom
from results import Results
from timing import faster, take_turns
from torch import Tensor, nn

import nasoseg
from nasoseg.data.store import Patient
from nasoseg.data.training_data import TrainingData
from nasoseg.export import SUFFIX_OF, export_model
from nasoseg.heads import expand_planes
from nasoseg.inference import load_exported
from nasoseg.inference.arrays import Array
from nasoseg.inference.ensemble import Ensemble
from nasoseg.inference.model import Model
from nasoseg.inference.segment import segment_study
from nasoseg.inference.study import read_study
from nasoseg.inference.task_model import TaskModel
from nasoseg.labels import OPENKBP
from nasoseg.tasks.base import SegmentationTask
from nasoseg.volumes.nifti import write_volume
from nasoseg.volumes.volume import Geometry

RUNNERS = ("eager", "bfloat16", "compiled", "ONNX Runtime", "OpenVINO")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure."""
    parser = parser_of(__doc__, rounds=3)
    parser.add_argument("--slices", type=int, default=150)
    parser.add_argument("--side", type=int, default=512, help="rows and columns, a multiple of 16")
    parser.add_argument("--width", type=int, default=16, help="channels at full resolution")
    options = parse(parser, arguments)
    results = Results("inference", "A study from file to masks", settings=vars(options))
    patient = phantom(0, slices=options.slices, side=options.side)
    laps: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_scan(folder / "ct.nii.gz", patient)
        ways = our_ways(patient, folder, laps, options, results)
        ways |= nnunet_way(patient, folder, laps, options, results)
        wait = functools.partial(synchronise, options.device)
        peaks = {name: peak_mib(way, device=options.device) for name, way in ways.items()}  # warms up
        turns = take_turns(ways, rounds=options.rounds, synchronise=wait, warm=False)
    timed = {name.partition(":")[0] for name in turns}
    built = networks(len(OPENKBP), width=options.width, results=results, asked=lambda name: name in timed)
    rows = []
    for name, each in turns.items():
        network = name.partition(":")[0]
        row: dict[str, Any] = {"way": name, "s": each.seconds(options.clock, options.pick)}
        row["GFLOP a slice"] = forward_flops(built[network], 1, side=options.side) / 1e9
        row |= {f"{part}, wall s": seconds for part, seconds in laps[name].items()}
        row["peak MiB"] = peaks[name]
        if (base := turns.get("nnU-Net PlainConvUNet: its predictor")) and base is not each:
            ratio = faster(each, base, clock=options.clock, pick=options.pick)
            row["times nnU-Net"] = str(ratio)
            nnunet = f"nnU-Net {base.seconds(options.clock, options.pick):.1f}"
            aim = "2" if network == "nasoseg UNet" else ""
            results.add_headline(f"inference: {name}", f"{row['s']:.1f} s", nnunet, ratio, aim=aim)
        rows.append(row)
    title = f"{options.side} x {options.side} x {options.slices}, {len(OPENKBP)} structures, the last run's parts"
    results.add_table(title, rows)
    results.write(options.out)


def write_scan(path: Path, patient: Patient) -> None:
    """Write a patient's CT with the axes in the order that NIfTI files mostly have, and that nnU-Net wants."""
    z, h, w = patient.image.shape
    turned = Geometry((w, h, z), patient.affine_lps[:, [2, 1, 0, 3]])
    write_volume(path, patient.image.transpose(2, 1, 0), turned)


def our_ways(
    patient: Patient, folder: Path, laps: dict[str, dict[str, float]], options: argparse.Namespace, results: Results
) -> dict[str, Callable[[], None]]:
    """Return how our networks segment the file, by each runner."""
    ways: dict[str, Callable[[], None]] = {}
    for name, kind in (("nasoseg UNet", nasoseg.UNet), ("nasoseg TwoStageUNet", nasoseg.TwoStageUNet)):
        for runner in RUNNERS:
            way = f"{name}: {runner}"
            if not wanted(way, options):
                continue
            torch.manual_seed(0)
            try:
                model = running(kind(labels=OPENKBP, width=options.width).eval(), runner, folder, options.device)
            except Exception as error:  # of compilers and runtimes; the others go on
                results.leave_out(way, f"{type(error).__name__}: {str(error).splitlines()[0]}")
                continue
            laps[way] = {}
            seeing = TrueModel(model, patient, options.device)
            ways[way] = functools.partial(segment_file, seeing, folder, way, laps[way])
    return ways


def running(task: SegmentationTask, runner: str, folder: Path, device: str) -> Model:
    """Make a model of a task that runs as named."""
    task.training_data = TrainingData(((-160.0, 240.0),))
    kinds = {"ONNX Runtime": "onnx", "OpenVINO": "openvino"}
    if runner in kinds:
        path = folder / f"{type(task).__name__}{SUFFIX_OF[kinds[runner]]}"
        export_model(task, path, kind=kinds[runner])
        return load_exported(path, device=device if device == "cpu" or runner == "ONNX Runtime" else "cpu")
    task.to(device, memory_format=torch.channels_last)
    if runner == "compiled":
        task.network.compile()
    return TaskModel(task, precision="bf16" if runner == "bfloat16" else "32")


def segment_file(model: "TrueModel", folder: Path, way: str, laps: dict[str, float]) -> None:
    """Do what `nasoseg segment` does with one file, and note when each part is done."""
    model.slices_done = 0
    ensemble = Ensemble([model])
    start = time.perf_counter()
    study = read_study(folder / "ct.nii.gz")
    read = time.perf_counter()
    found = segment_study(ensemble, study)
    segmented = time.perf_counter()
    found.to_nifti(folder / way.replace(" ", "_").replace(":", ""))
    laps |= {"read": read - start, "segment": segmented - read, "write": time.perf_counter() - segmented}


class TrueModel(Model):
    """Run a model, wait for its result, and hand on the truth in its place.

    Args:
        model: What is timed.
        patient: Whose true masks these are.
        device: Where the model's probabilities are.
    """

    def __init__(self, model: Model, patient: Patient, device: str) -> None:
        self.model = model
        for name in ("labels", "head", "in_channels", "training_data", "device", "pixels_at_once"):
            setattr(self, name, getattr(model, name))
        self.planes = torch.from_numpy(patient.labels.astype(np.int32)).to(device)
        self.slices_done = 0

    def __call__(self, images: Any) -> Array:
        """Map images (b, c, h, w) to the true probabilities (b, k, h, w) of the slices that are due."""
        seen = self.model(images)
        planes = self.planes[self.slices_done : self.slices_done + len(images)]
        self.slices_done += len(images)
        if isinstance(seen, np.ndarray):
            return expand_planes(planes, len(self.labels)).float().cpu().numpy()
        if seen.is_cuda:
            torch.cuda.synchronize()
        return expand_planes(planes, len(self.labels)).to(seen)


def nnunet_way(
    patient: Patient, folder: Path, laps: dict[str, dict[str, float]], options: argparse.Namespace, results: Results
) -> dict[str, Callable[[], None]]:
    """Return how nnU-Net's predictor segments the file, if it is installed."""
    way = "nnU-Net PlainConvUNet: its predictor"
    if not wanted(way, options) or not peer("nnunetv2", results, what="nnU-Net's predictor"):
        return {}
    from nnunet_peer import label_map, limit_processes, predictor

    limit_processes(options.threads)
    from dynamic_network_architectures.architectures.unet import PlainConvUNet

    structures = len(OPENKBP)
    net = PlainConvUNet(1, num_classes=structures + 1, **plain_conv_settings(options.width))
    labels = torch.from_numpy(label_map(patient.labels, structures)).to(options.device)
    network = TrueNetwork(net.eval(), labels, structures + 1)
    with quiet():
        predicts = predictor(
            network, side=options.side, structures=structures, width=options.width, device=options.device
        )
    laps[way] = {}

    def segment() -> None:
        network.slices_done, network.seconds = 0, 0.0
        start = time.perf_counter()
        with quiet():
            predicts.predict_from_files_sequential([[str(folder / "ct.nii.gz")]], [str(folder / "nnunet")])
        network_s = network.seconds
        laps[way] |= {"network": network_s, "all else": time.perf_counter() - start - network_s}

    return {way: segment}


class TrueNetwork(nn.Module):
    """Run a network one slice at a time, wait for its result, and hand on the truth in its place.

    Args:
        network: What is timed.
        labels: (z, h, w) of the volume that will come, in its order.
        channels: Of the logits.
    """

    def __init__(self, network: nn.Module, labels: Tensor, channels: int) -> None:
        super().__init__()
        self.network = network
        self.labels = labels
        self.channels = channels
        self.slices_done = 0
        self.seconds = 0.0

    def forward(self, image: Tensor) -> Tensor:
        """Map an image (1, c, h, w) to logits (1, channels, h, w)."""
        start = time.perf_counter()
        seen: Tensor = self.network(image)
        if seen.is_cuda:
            torch.cuda.synchronize()
        self.seconds += time.perf_counter() - start
        from nnunet_peer import one_hot_logits

        logits = one_hot_logits(self.labels[self.slices_done], self.channels)
        self.slices_done += 1
        return logits[None].to(seen.dtype)


if __name__ == "__main__":
    main()
