"""Build hook of hatchling: fetches the viewer NiiVue with npm before wheel, sdist or editable install are made.

Without npm or network the build goes on, and `nasoseg view` says what is missing. A release sets
NASOSEG_REQUIRE_NIIVUE=1, which makes that an error.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class NiivueHook(BuildHookInterface):
    """Run tools/vendor_niivue.py."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Fetch NiiVue.

        Raises:
            RuntimeError: If it is required and cannot be had.
        """
        script = Path(self.root) / "tools" / "vendor_niivue.py"
        ended = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
        if ended.returncode == 0:
            return
        if os.environ.get("NASOSEG_REQUIRE_NIIVUE"):
            raise RuntimeError(ended.stderr.strip())
        self.app.display_warning(ended.stderr.strip())
