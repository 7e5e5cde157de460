"""Models that ``nasoseg export`` wrote, run by ONNX Runtime or OpenVINO: no torch in the process."""

import importlib
import os
from abc import abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nasoseg.cores import usable_cores
from nasoseg.errors import NasosegError
from nasoseg.inference.description import DESCRIPTION, IMAGES, PROBABILITIES, ModelDescription, read_description
from nasoseg.inference.model import Model
from nasoseg.inference.seal import is_intact

SUFFIXES = (".onnx", ".xml", ".pt")
"""Endings of exported models."""


class ExportedModel(Model):
    """Run an exported model; made by ``load_exported``.

    Attributes:
        path: The file.
        description: What it says of itself.
    """

    path: Path
    description: ModelDescription

    def __call__(self, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Map images (b, c, h, w) to probabilities (b, channels, h, w), float32, background channel included.

        Raises:
            MemoryError: If memory does not suffice for so many slices.
            NasosegError: If the images have other channels, or the runtime fails.
        """
        if images.ndim != 4 or images.shape[1] != self.in_channels:
            raise NasosegError(f"{self.path}: found images {images.shape}, expected (b, {self.in_channels}, h, w)")
        try:
            of_structures = self.structure_probabilities(images)
        except Exception as error:  # the runtimes raise RuntimeError and types of their own
            if isinstance(error, MemoryError) or "alloc" in str(error):
                raise MemoryError(str(error)) from error
            raise NasosegError(f"{self.path}: failed on images {images.shape} ({_first_line(error)})") from error
        if self.head == "multilabel":
            return of_structures
        background = 1 - of_structures.sum(axis=1, keepdims=True)
        return np.concatenate([background, of_structures], axis=1)

    @abstractmethod
    def structure_probabilities(self, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Map images (b, c, h, w) to probabilities (b, k, h, w) of the structures alone."""

    def _take(self, path: Path, text: str) -> None:
        self.path = path
        self.description = read_description(text, where=str(path))
        self.labels = list(self.description.labels)
        self.head = self.description.head
        self.in_channels = self.description.in_channels
        self.training_data = self.description.training_data


class OnnxModel(ExportedModel):
    """Run an ONNX model with ONNX Runtime.

    Args:
        path: The ``.onnx`` file.
        device: ``auto`` (a GPU if ONNX Runtime has one), ``cpu``, ``cuda`` or ``cuda:1``.
    """

    def __init__(self, path: Path, *, device: str = "auto") -> None:
        content = _read(path)
        _check_seal(path, content)
        runtime = require("onnxruntime", extra="onnx", what=str(path))
        options = runtime.SessionOptions()
        options.intra_op_num_threads = _threads()  # unset, it pins threads to cores that a container may not have
        options.log_severity_level = 3
        try:
            self._session = runtime.InferenceSession(content, options, providers=_providers(runtime, device))
        except NasosegError:
            raise
        except Exception as error:
            raise NasosegError(
                f"{path}: ONNX Runtime {runtime.__version__} does not take it ({_first_line(error)}): update it with"
                " pip install -U onnxruntime"
            ) from error
        on_gpu = self._session.get_providers()[0].startswith("CUDA")
        if device.startswith("cuda") and not on_gpu:
            raise NasosegError(f"--device: {device!r}: ONNX Runtime could not load CUDA: expected auto or cpu")
        self.device = "cuda" if on_gpu else "cpu"
        if on_gpu:
            self.pixels_at_once = 2**23
        self._take(path, self._session.get_modelmeta().custom_metadata_map[DESCRIPTION])

    def structure_probabilities(self, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Map images (b, c, h, w) to probabilities (b, k, h, w) of the structures alone."""
        return np.asarray(self._session.run([PROBABILITIES], {IMAGES: images})[0])


class OpenVinoModel(ExportedModel):
    """Run an OpenVINO model.

    Args:
        path: The ``.xml`` file; the ``.bin`` file of the same name lies beside it.
        device: ``auto`` and ``cpu`` mean the processor; or as OpenVINO spells it.
    """

    def __init__(self, path: Path, *, device: str = "auto") -> None:
        content, weights = _read(path), _read(path.with_suffix(".bin"))
        _check_seal(path, content, weights)
        openvino = require("openvino", extra="openvino", what=str(path))
        core = openvino.Core()
        self.device = "CPU" if device.lower() in ("auto", "cpu") else device.upper()
        if self.device not in core.available_devices:
            raise NasosegError(
                f"--device: found {device!r}, OpenVINO has {', '.join(core.available_devices)} here: expected auto or"
                " one of these"
            )
        try:
            self._model = core.read_model(content, openvino.Tensor(np.frombuffer(weights, np.uint8)))
        except Exception as error:
            raise NasosegError(
                f"{path}: OpenVINO {openvino.__version__} does not take it ({_first_line(error)}): update it with"
                " pip install -U openvino"
            ) from error
        self._core = core
        self._compiled: Any = None
        self._shape: tuple[int, ...] = ()
        self._take(path, str(self._model.get_rt_info([DESCRIPTION]).astype(str)))

    def structure_probabilities(self, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Map images (b, c, h, w) to probabilities (b, k, h, w) of the structures alone."""
        if images.shape != self._shape:
            self._compile(images.shape)
        return np.asarray(self._compiled(images)[0])

    def _compile(self, shape: tuple[int, ...]) -> None:
        """Compile for images of one shape: a tenth of a second, and 15 % faster than for any shape."""
        self._compiled, self._shape = None, ()
        # Left to itself, OpenVINO computes in bfloat16 on processors that have it.
        settings = {"INFERENCE_PRECISION_HINT": "f32"}
        if self.device == "CPU":
            settings["INFERENCE_NUM_THREADS"] = str(_threads())
        self._model.reshape(list(shape))
        self._compiled, self._shape = self._core.compile_model(self._model, self.device, settings), shape


def load_exported(path: str | os.PathLike[str], *, device: str = "auto") -> ExportedModel:
    """Load a model that ``nasoseg export`` wrote, for ``nasoseg.segment``.

    Args:
        path: ``.onnx``, or ``.xml`` with its ``.bin`` beside it.
        device: Where it shall run: ``auto``, ``cpu``, or as the runtime spells it.

    Raises:
        NasosegError: If the file is missing, damaged or not such a model, or its runtime or the device is missing.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".onnx":
        return OnnxModel(path, device=device)
    if suffix == ".xml":
        return OpenVinoModel(path, device=device)
    raise NasosegError(
        f"{path}: expected a model that ends in .onnx or .xml; TorchScript is for other programs: export the run with"
        " --format onnx or openvino, or give its run folder"
    )


def require(module: str, *, extra: str, what: str) -> Any:
    """Import a module of an extra.

    Raises:
        NasosegError: If it is not installed; says which extra has it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise NasosegError(f"{what}: {module} is not installed: pip install 'nasoseg[{extra}]'") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise NasosegError(
            f"{path}: cannot be read ({error.strerror or error}): expected a model that `nasoseg export` wrote, .onnx,"
            " or .xml with its .bin"
        ) from error


def _check_seal(path: Path, content: bytes, *others: bytes) -> None:
    intact = is_intact(content, *others)
    if intact is None:
        raise NasosegError(
            f"{path}: says nothing of structures and images: it is cut short, or no model that `nasoseg export` wrote:"
            " export the run again"
        )
    if not intact:
        beside = f" or {path.with_suffix('.bin').name}" if others else ""
        raise NasosegError(f"{path}: differs from its checksum: it{beside} is damaged: copy or export it again")


def _providers(runtime: Any, device: str) -> list[Any]:
    available = runtime.get_available_providers()
    cuda = "CUDAExecutionProvider"
    kind, _, number = device.partition(":")
    if (
        kind not in ("auto", "cpu", "cuda")
        or not (number or "0").isdigit()
        or (kind == "cuda" and cuda not in available)
    ):
        has = "cpu, cuda" if cuda in available else "cpu (onnxruntime-gpu has cuda)"
        raise NasosegError(f"--device: found {device!r}, ONNX Runtime has {has} here: expected auto or one of these")
    if kind == "cpu" or cuda not in available:
        return ["CPUExecutionProvider"]
    # TF32 has 10 bits of mantissa: not what was trained and tested.
    return [(cuda, {"device_id": int(number or 0), "use_tf32": 0}), "CPUExecutionProvider"]


def _threads() -> int:
    """Count the threads to compute in: as OMP_NUM_THREADS says, which torch obeys too, else one a core."""
    wanted = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return int(wanted) if wanted.isdigit() and int(wanted) else usable_cores()


def _first_line(error: Exception) -> str:
    return next((line.strip()[:200] for line in str(error).splitlines() if line.strip()), type(error).__name__)
