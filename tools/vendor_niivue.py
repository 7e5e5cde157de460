"""Put the viewer NiiVue where the package expects it: one file of one exact version, from npm, checked by its hash.

    python tools/vendor_niivue.py

Needs npm (Node.js) and network, once. The build runs it (hatch_build.py); a file that is there and right is kept.
Nothing is unpacked but the one file, no script of the package is run, and no other package is fetched.
"""

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PACKAGE = "@niivue/niivue"
VERSION = "0.69.0"
TARBALL_SHA512 = "YMjQvJgD1W2b7DuoxkwlC4VxbrgIePRJ5qyQzXKxi2v2MBVg285P/CIQyg46oDDGDIcaNlbd+MhtO/edMbXJkA=="
"""As `npm view @niivue/niivue@0.69.0 dist.integrity` says."""

MEMBER = "package/dist/niivue.umd.js"
MEMBER_SHA256 = "47b896b77ec4a5be3ef1949c33ad393b6f45629921f326c279000bcf51bdb4af"
TARGET = Path(__file__).resolve().parent.parent / "nasoseg" / "report" / "view" / "vendor" / "niivue.umd.js"

SECONDS = 180


def main() -> int:
    """Put the file there; return 0 if it is there and right."""
    try:
        if TARGET.is_file() and hashlib.sha256(TARGET.read_bytes()).hexdigest() == MEMBER_SHA256:
            return 0
        content = _from_npm()
        TARGET.parent.mkdir(parents=True, exist_ok=True)
        temporary = TARGET.with_name(f".{os.getpid()}.tmp.{TARGET.name}")
        try:
            temporary.write_bytes(content)
            temporary.replace(TARGET)
        finally:
            temporary.unlink(missing_ok=True)
    except (OSError, RuntimeError, tarfile.TarError, subprocess.TimeoutExpired) as error:
        print(f"NiiVue {VERSION} is not there: {error}. `nasoseg view` will not work.", file=sys.stderr)
        return 1
    print(f"NiiVue {VERSION}: {TARGET}")
    return 0


def _from_npm() -> bytes:
    """Fetch the package with npm, check it, and return the one file of it."""
    npm = shutil.which("npm")
    if npm is None:
        raise RuntimeError("npm was not found; install Node.js")
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--ignore-scripts", "--silent", "--pack-destination", folder]
        ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False)
        packed = list(Path(folder).glob("*.tgz"))
        if ended.returncode or len(packed) != 1:
            said = " ".join(ended.stderr.split())[-300:]
            raise RuntimeError(f"`npm pack {PACKAGE}@{VERSION}` failed ({said or ended.returncode})")
        found = base64.b64encode(hashlib.sha512(packed[0].read_bytes()).digest()).decode()
        if found != TARBALL_SHA512:
            raise RuntimeError(f"{PACKAGE} {VERSION} has SHA-512 {found}, expected {TARBALL_SHA512}")
        with tarfile.open(packed[0]) as archive:
            member = archive.extractfile(MEMBER)
            if member is None:
                raise RuntimeError(f"{PACKAGE} {VERSION} has no file {MEMBER}")
            content = member.read()
    if hashlib.sha256(content).hexdigest() != MEMBER_SHA256:
        raise RuntimeError(f"{MEMBER} of {PACKAGE} {VERSION} has another SHA-256 than {MEMBER_SHA256}")
    return content


if __name__ == "__main__":
    sys.exit(main())
