"""What a model card says of every model: what it is for, what it is not, and how to load it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from nasoseg.data.training_data import Range, TrainingData
    from nasoseg.tasks.base import SegmentationTask

MODEL_CARD = "model_card.md"
"""Its name in a run folder; in a shared folder it is the ``README.md``."""

FRONT_MATTER = """\
---
library_name: nasoseg
pipeline_tag: image-segmentation
tags:
- medical
- computed-tomography
- head-and-neck
- radiotherapy
---
"""
"""What the hub reads: Hugging Face's model card metadata. The licence is for the one who shares to choose."""

NOT_A_DEVICE = (
    "**Not a medical device.** It has no approval for clinical use. Do not use it to diagnose, to plan or to treat."
)

INTENDED_USE = (
    "Research on the segmentation of head-and-neck CT: to compare methods, and to propose contours that a person who"
    " is trained for it checks and corrects, every one, before they are used for anything else."
)

LIMITS = (
    "Other scanners, protocols, hospitals and patient groups than those of the training are not tested unless this card"
    " says so.",
    "Children, implants, large tumours, operated anatomy, and contrast media may be rare or missing in the training.",
    "A structure that the model marks may not be there, and one that is there may be missed.",
    "The labels are what people drew in practice; a model learns their habits and their errors.",
)


def plain_card(task: "SegmentationTask") -> str:
    """Write the card of a model of which no run folder tells: what it is, and that nothing else is known.

    Args:
        task: The model.
    """
    facts = {
        "network": type(task).__name__,
        "parameters": sum(p.numel() for p in task.parameters()),
        "structures": list(task.labels),
        "channels of the image": task.in_channels,
        "head": task.head,
    }
    # As YAML: a name with Markdown or HTML in it stays a name.
    listed = yaml.safe_dump(facts, sort_keys=False, allow_unicode=True).rstrip()
    parts = [
        f"# {type(task).__name__}",
        NOT_A_DEVICE,
        f"```yaml\n{listed}\n```",
        "How it was trained and what it reaches is not recorded: it does not come from a run folder.",
        "## Intended use",
        INTENDED_USE,
        "## Limits",
        bullets([*LIMITS, *input_lines(task.training_data)]),
        "## How to use it",
        usage(task.blueprint["class_path"]),
    ]
    return "\n\n".join(parts) + "\n"


def input_lines(training: "TrainingData | None") -> list[str]:
    """Say, in sentences, for which images a model is made.

    Args:
        training: Of the model; None where it is not known.
    """
    if training is None:
        return ["How its images were made is not recorded: `nasoseg segment` refuses the model until that is given."]
    windows = ", ".join(f"{low:g} to {high:g}" for low, high in training.windows_hu)
    lines = [f"It reads axial CT in Hounsfield units, windowed to {windows} HU."]
    if training.context:
        lines.append(f"It reads {training.context} neighbouring slices on either side.")
    sizes = [
        ("pixels", training.pixel_mm),
        ("slice distances", training.slice_mm),
        ("fields of view", training.field_mm),
    ]
    known = [f"{name} of {_range(of)} mm" for name, of in sizes if of is not None]
    if known:
        lines.append(f"It was trained on {', '.join(known)}; `nasoseg segment` warns of a scan outside them.")
    return lines


def usage(class_path: str) -> str:
    """Return the lines of code that load and use a model.

    Args:
        class_path: The import path of its class.
    """
    hub = f'  # or {class_path}.from_pretrained("NAME/REPOSITORY")' if class_path.startswith("nasoseg.") else ""
    return (
        "```python\nimport nasoseg\n\n"
        f'model = nasoseg.load("FOLDER"){hub}\n'
        'found = nasoseg.segment(model, "SCAN")  # DICOM, NIfTI, NRRD or MetaImage\n'
        'found.to_rtstruct("contours.dcm")  # or to_seg, to_nifti\n```'
    )


def bullets(sentences: Sequence[str]) -> str:
    """Return sentences as a list in Markdown."""
    return "\n".join(f"- {sentence}" for sentence in sentences)


def _range(of: "Range") -> str:
    return f"{of.smallest:.3g}" if of.smallest == of.largest else f"{of.smallest:.3g} to {of.largest:.3g}"
