"""One study in a browser: CT and masks, drawn by NiiVue, served to this machine alone."""

from nasoseg.report.view.reading import read_shown
from nasoseg.report.view.server import ServedFile, StudyServer
from nasoseg.report.view.site import site_files
from nasoseg.report.view.study import MaskSet, ShownStudy

__all__ = ["MaskSet", "ServedFile", "ShownStudy", "StudyServer", "read_shown", "site_files"]
