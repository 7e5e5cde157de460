"""Trained models for other programs: ONNX, TorchScript, OpenVINO."""

from nasoseg.export.export import FORMATS, SUFFIX_OF, Format, check_place, export_model

__all__ = ["FORMATS", "SUFFIX_OF", "Format", "check_place", "export_model"]
