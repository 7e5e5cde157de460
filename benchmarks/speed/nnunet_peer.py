"""nnU-Net as a peer: its stored cases, its loader and its predictor, on our scans and with a network like ours.

Imported only where ``nnunetv2`` is installed. What is nnU-Net's own stays as it is; plans and data set are written
here, because its planner would choose another network for every data set.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from networks import plain_conv_settings
from options import quiet
from phantom import FIELD_MM
from torch import Tensor, nn

from nasoseg.data.store import Store

_INTENSITIES = {"mean": 20.0, "std": 250.0, "percentile_00_5": -1000.0, "percentile_99_5": 1200.0}


def limit_processes(threads: int) -> None:
    """Keep nnU-Net to so many threads; before it is imported, because it reads the variables then."""
    for name in ("nnUNet_def_n_proc", "nnUNet_n_proc_DA"):
        os.environ[name] = str(threads)
    for folder in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        os.environ.setdefault(folder, os.devnull)  # it warns without, and nothing is kept there


def managers(side: int, structures: int, *, width: int) -> tuple[Any, Any, dict[str, Any]]:
    """Return nnU-Net's plans, their 2d configuration, and the description of the data set.

    Args:
        side: Rows and columns of a patch, and of the phantoms.
        structures: Number of structures; one label each, and a softmax over them.
        width: Channels of the network at full resolution.
    """
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    resampling: dict[str, Any] = {}
    for what, orders in (("data", (False, 3)), ("seg", (True, 1)), ("probabilities", (False, 1))):
        resampling[f"resampling_fn_{what}"] = "resample_data_or_seg_to_shape"
        resampling[f"resampling_fn_{what}_kwargs"] = {
            "is_seg": orders[0], "order": orders[1], "order_z": 0, "force_separate_z": None,
        }  # fmt: skip
    settings = plain_conv_settings(width)
    named = {"conv_op": "torch.nn.modules.conv.Conv2d", "norm_op": "torch.nn.modules.instancenorm.InstanceNorm2d"}
    named |= {"nonlin": "torch.nn.LeakyReLU"}
    configuration = {
        "data_identifier": "nnUNetPlans_2d",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 16,
        "patch_size": [side, side],
        "median_image_size_in_voxels": [side, side],
        "spacing": [FIELD_MM / side, FIELD_MM / side],  # the scans' own: nothing is resampled
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        **resampling,
        "architecture": {
            "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
            "arch_kwargs": {**settings, **named, "dropout_op": None, "dropout_op_kwargs": None},
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
        "batch_dice": True,
    }
    plans = {
        "dataset_name": "Dataset001_phantom",
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "label_manager": "LabelManager",
        "experiment_planner_used": "ExperimentPlanner",
        "foreground_intensity_properties_per_channel": {"0": _INTENSITIES},
        "configurations": {"2d": configuration},
    }
    dataset = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, **{f"s{number}": number + 1 for number in range(structures)}},
        "file_ending": ".nii.gz",
    }
    manager = PlansManager(plans)
    return manager, manager.get_configuration("2d"), dataset


def write_cases(store: Store, keys: Sequence[str], folder: Path) -> None:
    """Store patients as nnU-Net's preprocessing does: float32 and labels, Blosc2, its chunks and its filters."""
    from nnunetv2.training.dataloading.nnunet_dataset import comp_blosc2_params, nnUNetDatasetBlosc2

    folder.mkdir(parents=True, exist_ok=True)
    for key in keys:
        patient = store.patient(key)
        data = ((patient.image - _INTENSITIES["mean"]) / _INTENSITIES["std"]).astype(np.float32)[None]
        seg = label_map(patient.labels, len(store.names)).astype(np.int16)[None]
        places = {
            label: np.argwhere(seg == label)[:10_000] for label in range(1, len(store.names) + 1)
        }  # (n, 4): nnU-Net counts the channel
        layout = {}
        for suffix, array in (("", data), ("_seg", seg)):
            patch = data.shape[2:]
            layout[f"blocks{suffix}"], layout[f"chunks{suffix}"] = comp_blosc2_params(
                array.shape, patch, array.itemsize
            )
        with quiet():
            nnUNetDatasetBlosc2.save_case(data, seg, {"class_locations": places}, str(folder / key), **layout)


def loader(folder: Path, *, side: int, structures: int, batch_size: int, augment: bool) -> Iterator[dict[str, Any]]:
    """Return nnU-Net's loader of whole planes, one process, with its training transforms or with none."""
    with quiet():
        from nnunetv2.training.data_augmentation.compute_initial_patch_size import get_patch_size
        from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
        from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2
        from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    plans, _, dataset = managers(side, structures, width=16)
    patch, transforms = [side, side], None
    if augment:
        turn = (-np.pi, np.pi)
        patch = get_patch_size(patch, turn, turn, turn, (0.85, 1.25))
        transforms = nnUNetTrainer.get_training_transforms([side, side], turn, None, (0, 1), False)
    loaded: Iterator[dict[str, Any]] = nnUNetDataLoader(
        nnUNetDatasetBlosc2(str(folder)), batch_size, patch, [side, side], plans.get_label_manager(dataset),
        oversample_foreground_percent=0.33, transforms=transforms,
    )  # fmt: skip
    return loaded


def predictor(network: nn.Module, *, side: int, structures: int, width: int, device: str) -> Any:
    """Return nnU-Net's predictor around a network; mirroring off, the rest as it is."""
    with quiet():
        from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

        made = nnUNetPredictor(use_mirroring=False, device=torch.device(device), allow_tqdm=False)
    plans, configuration, dataset = managers(side, structures, width=width)
    made.manual_initialization(
        network, plans, configuration, [network.state_dict()], dataset, "nnUNetTrainer", None
    )  # fmt: skip
    return made


def label_map(planes: npt.NDArray[Any], structures: int) -> npt.NDArray[np.uint8]:
    """Turn bit planes into one label a voxel, the later structure over the earlier."""
    result = np.zeros(planes.shape, np.uint8)
    for bit in range(structures):
        result[(planes >> planes.dtype.type(bit)) & planes.dtype.type(1) != 0] = bit + 1
    return result


def one_hot_logits(labels: Tensor, channels: int) -> Tensor:
    """Return logits (channels, h, w), 8 where a label (h, w) is, else -8."""
    return (labels[None] == torch.arange(channels, device=labels.device)[:, None, None]).float() * 16 - 8
