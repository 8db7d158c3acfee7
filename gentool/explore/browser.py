"""Opening the page, where there is a screen to open it on."""

from __future__ import annotations

import os
import sys
import threading
import webbrowser


def show(url: str) -> None:
    """Open `url` in the person's browser, without waiting; a terminal's browser is left alone."""
    screen = sys.platform in ("darwin", "win32") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME")
    )
    if screen:
        threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
