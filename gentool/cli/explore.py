"""``gentool explore``: the model in a browser, on this machine alone."""

from __future__ import annotations

import contextlib
import sys
from typing import Annotated

import typer

from gentool.console import say, tell
from gentool.errors import check_whole


def explore(
    sources: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RUN|FILE]…", help="Runs or model files; default: the latest run."),
    ] = None,
    port: Annotated[int, typer.Option("--port", help="0 takes a free one.")] = 0,
    host: Annotated[
        str, typer.Option("--host", help="Whose requests are heard: by default this machine's.")
    ] = "127.0.0.1",
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page.")] = True,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
) -> None:
    """Play with trained models in a browser. Nothing is sent to any other machine."""
    check_whole("--port", port, 0, 65535)

    from gentool.devices import pick_device
    from gentool.explore.server import Explorer
    from gentool.explore.session import open_all

    explorer = Explorer(open_all(sources or [], pick_device(device)), host, port)
    with contextlib.suppress(KeyboardInterrupt):
        tell(explorer.url)
        sys.stdout.flush()
        say("Ctrl-C ends it.")
        if browser:
            from gentool.explore.browser import show

            show(explorer.url)
        explorer.run()
