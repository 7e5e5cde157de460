"""RTSTRUCT in and out."""

from nasoseg.volumes.rtstruct_reading import read_rtstruct
from nasoseg.volumes.rtstruct_writing import write_rtstruct

__all__ = ["read_rtstruct", "write_rtstruct"]
