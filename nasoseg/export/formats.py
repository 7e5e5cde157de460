"""Model files: ONNX, TorchScript, OpenVINO, each with the model's description in its metadata and no path."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from nasoseg.errors import NasosegError
from nasoseg.export.program import StructureProbabilities, quiet
from nasoseg.inference.description import DESCRIPTION, IMAGES, PROBABILITIES
from nasoseg.inference.exported import require
from nasoseg.inference.seal import OPEN, SEAL, sealed

OPSET = 18
"""The one that torch's exporter writes natively; read by ONNX Runtime 1.14 (2023) and all later ones."""

EXTRA_FILE = f"{DESCRIPTION}.json"
"""Where TorchScript keeps the description: ``torch.jit.load(path, _extra_files={"nasoseg.json": ""})``."""

_AXES = ("slices", None, "rows", "columns")

Write = Callable[[Path, StructureProbabilities, ExportedProgram, str], None]
"""Writes a model to a path: the network, its traced program, its description."""


def write_onnx(path: Path, network: StructureProbabilities, program: ExportedProgram, description: str) -> None:
    """Write an ONNX model, weights included.

    Raises:
        NasosegError: If a part has no counterpart in ONNX, or the extra ``onnx`` is not installed.
    """
    model = _onnx_model(network, program)
    for key, value in ((DESCRIPTION, description), (SEAL, OPEN)):
        model.metadata_props.add(key=key, value=value)
    path.write_bytes(sealed(model.SerializeToString()))


def write_openvino(path: Path, network: StructureProbabilities, program: ExportedProgram, description: str) -> None:
    """Write an OpenVINO model by way of ONNX: ``path``, which ends in .xml, and a .bin beside it.

    Raises:
        NasosegError: If a part has no counterpart, or the extra ``openvino`` is not installed.
    """
    openvino = require("openvino", extra="openvino", what="openvino")
    # Not by openvino.convert_model, which reports its use over the network.
    model = openvino.Core().read_model(io.BytesIO(_onnx_model(network, program).SerializeToString()))
    model.set_rt_info(description, [DESCRIPTION])
    model.set_rt_info(OPEN, [SEAL])
    openvino.save_model(model, path, compress_to_fp16=False)
    path.write_bytes(sealed(path.read_bytes(), path.with_suffix(".bin").read_bytes()))


def write_torchscript(path: Path, network: StructureProbabilities, program: ExportedProgram, description: str) -> None:
    """Write a TorchScript model; traced from the network, since it has no way from ``program``."""
    jit: Any = torch.jit  # untyped
    with quiet(), torch.no_grad():
        traced = jit.trace(network, network.example(), check_trace=False)
        whole = io.BytesIO()
        jit.save(traced, whole, _extra_files={EXTRA_FILE: description})
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(path, "w") as target:
        for entry in source.infolist():
            if not entry.filename.endswith(".debug_pkl"):  # source lines, with the paths of their files
                target.writestr(entry, source.read(entry))


def _onnx_model(network: StructureProbabilities, program: ExportedProgram) -> Any:
    """Convert to an ``onnx.ModelProto`` without any metadata."""
    for module in ("onnx", "onnxscript"):
        require(module, extra="onnx", what="onnx")
    try:
        with quiet():
            converted = torch.onnx.export(
                program,
                (network.example(),),
                input_names=[IMAGES],
                output_names=[PROBABILITIES],
                opset_version=OPSET,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
            assert converted is not None
            model: Any = converted.model_proto
    except Exception as error:  # of torch, onnxscript and protobuf
        first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise NasosegError(
            f"a part of the network has no counterpart in ONNX ({first[:300]}): export it with --format torchscript, or"
            " segment with the run folder"
        ) from error
    del model.metadata_props[:]
    _strip(model.graph)
    for value in (*model.graph.input, *model.graph.output):
        for axis, name in zip(value.type.tensor_type.shape.dim, _AXES, strict=True):
            if name:
                axis.dim_param = name
    return model


def _strip(graph: Any) -> None:
    """Remove source lines, with the paths of their files, and the sizes of intermediate results, which are optional."""
    del graph.metadata_props[:]
    del graph.value_info[:]
    for named in (*graph.input, *graph.output, *graph.initializer, *graph.node):
        named.doc_string = ""
        del named.metadata_props[:]
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                _strip(inner)
