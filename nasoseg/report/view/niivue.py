"""The viewer itself, NiiVue, which the build puts beside this file with npm; see tools/vendor_niivue.py."""

from pathlib import Path

from nasoseg.errors import NasosegError

FOLDER = Path(__file__).parent / "vendor"
SCRIPT = "niivue.umd.js"


def niivue_script() -> bytes:
    """Read NiiVue.

    Raises:
        NasosegError: If nasoseg was built without npm, so that it is not there.
    """
    path = FOLDER / SCRIPT
    try:
        return path.read_bytes()
    except OSError as error:
        raise NasosegError(
            f"{path}: the viewer NiiVue is not there, as nasoseg was built without npm or network: install a released"
            " wheel; or in a checkout install Node.js and run `python tools/vendor_niivue.py`"
        ) from error
