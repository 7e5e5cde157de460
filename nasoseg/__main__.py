"""``python -m nasoseg`` is ``nasoseg``."""

import sys

from nasoseg.cli import main

sys.exit(main())
