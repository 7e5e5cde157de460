"""The carried sample as a store: 12 real patients of OpenKBP, built once and kept in the user's cache."""

import hashlib
import os
import tempfile
from pathlib import Path

from nasoseg.data.store import VERSION, Store
from nasoseg.files import whole_file

SAMPLE = "sample"
"""The name by which ``SliceDataModule`` and the command line know the carried sample."""

SAMPLE_ROOT = Path(__file__).parent / "sample"
ABSENT = ("PTV56", "PTV63", "PTV70")
"""Planning targets: where the sample has none, that dose level was not prescribed, so it is absent, not undrawn."""


def open_store(store: str | os.PathLike[str]) -> Store:
    """Open a store by its path, or the carried sample's by its name, ``sample``.

    Raises:
        NasosegError: If the file is missing, or no such store.
    """
    return Store(embedded_store() if str(store) == SAMPLE else store)


def embedded_store() -> Path:
    """Return the sample's store, built from its NIfTI files at the first call (seconds).

    It lies in ``$XDG_CACHE_HOME/nasoseg`` (``~/.cache/nasoseg``), or in the temporary folder where that cannot be
    written. Its name carries a hash of what it was made from.
    """
    from nasoseg.data.prepare import prepare_nifti  # readers of medical files, not needed once the store is there

    made_from = hashlib.sha256(f"version {VERSION}".encode())
    for path in sorted(SAMPLE_ROOT.rglob("*.nii.gz")):
        made_from.update(str(path.relative_to(SAMPLE_ROOT)).encode() + path.read_bytes())
    store = _cache() / f"sample-{made_from.hexdigest()[:16]}.h5"
    if not store.is_file():
        # Several processes may begin at once: each makes its own, the same, and the last gives it its name. One worker,
        # because a script may call it without a __main__ guard.
        with whole_file(store) as temporary:
            prepare_nifti(SAMPLE_ROOT, temporary, absent=ABSENT, workers=1)
    return store


def _cache() -> Path:
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nasoseg"
    for folder in (home, Path(tempfile.gettempdir()) / f"nasoseg-{os.getuid() if hasattr(os, 'getuid') else 'user'}"):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                return folder
        except OSError:
            continue
    raise OSError(f"neither {home} nor the temporary folder can be written: set XDG_CACHE_HOME to a folder that can")
