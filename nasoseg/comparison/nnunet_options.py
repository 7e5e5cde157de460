"""How nnU-Net is run."""

from dataclasses import dataclass
from typing import Literal, get_args

from nasoseg import labels as structure_names
from nasoseg.comparison.nnunet_groups import Group
from nasoseg.errors import NasosegError

Configuration = Literal["2d", "3d_fullres"]
Mirroring = Literal["auto", "true", "false"]
Plane = Literal["auto", "axial"]
Device = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True)
class Options:
    """Say how nnU-Net is run.

    Attributes:
        configuration: nnU-Net's configuration.
        epochs: Epochs; nnU-Net's own number by default.
        iterations_per_epoch: Iterations an epoch; nnU-Net's own number by default.
        batch_size: Images (3d: patches) a batch; None leaves it to nnU-Net's planning.
        mirroring: Whether nnU-Net mirrors in training and prediction. ``auto``: only a group in which no structure
            has a side; nnU-Net swaps no names, so that a mirrored left parotid would be taught as a left one.
        plane: Which slices 2d sees. ``auto`` is nnU-Net's own rule: across the axis of the widest spacing, which is
            not the axial plane where pixels are wider than slices are thick; ``axial`` makes it axial.
        device: Where it runs; ``auto`` takes the GPU where its torch finds one.
        processes: Most processes that it starts for one purpose.
    """

    configuration: Configuration = "2d"
    epochs: int = 1000
    iterations_per_epoch: int = 250
    batch_size: int | None = None
    mirroring: Mirroring = "auto"
    plane: Plane = "auto"
    device: Device = "auto"
    processes: int = 4

    def __post_init__(self) -> None:
        # A batch below 2 is below nnU-Net's own least, and would hold no slice drawn for its structures.
        least = {"epochs": 1, "iterations_per_epoch": 1, "batch_size": 2, "processes": 1}
        for name, smallest in least.items():
            value = getattr(self, name)
            if value is not None and value < smallest:
                raise NasosegError(f"--{name.replace('_', '-')}: found {value}, expected {smallest} or more")
        kinds = {"configuration": Configuration, "mirroring": Mirroring, "plane": Plane, "device": Device}
        for name, kind in kinds.items():
            if getattr(self, name) not in get_args(kind):
                raise NasosegError(
                    f"--{name}: found {getattr(self, name)!r}, expected one of {', '.join(get_args(kind))}"
                )

    def mirrors(self, group: Group) -> bool:
        """Tell whether nnU-Net mirrors in this group."""
        if self.mirroring != "auto":
            return self.mirroring == "true"
        return all(structure_names.mirrored(name) == name for name in group.structures)
