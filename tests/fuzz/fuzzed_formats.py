"""What is fuzzed: every format that nasoseg reads, with the reader that meets strangers' files."""

from collections.abc import Mapping
from pathlib import Path

from image_formats import IMAGES
from material import Format, Material
from plain_formats import PLAIN
from promise import Target

FORMATS: Mapping[str, Format] = IMAGES | PLAIN


def make_target(name: str, folder: Path, material: Material) -> Target:
    """Write the seeds of a format into a new folder."""
    folder.mkdir()
    form = FORMATS[name]
    return Target(name, folder, form.write(folder, material), form.mutations, form.read)
