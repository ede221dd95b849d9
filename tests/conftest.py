"""For all tests: no server that they start follows the world by itself."""

from __future__ import annotations

import os

os.environ.setdefault("GNOMON_STARTER__MODE", "off")
