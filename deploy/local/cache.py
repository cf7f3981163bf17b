"""Where downloads are kept between runs and between clones."""

import os
import sys
from pathlib import Path


def cache_dir() -> Path:
    """KOPILKA_CACHE, or the user's cache folder by the platform's convention."""
    if chosen := os.environ.get("KOPILKA_CACHE"):
        return Path(chosen).expanduser().resolve()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "kopilka"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kopilka"
