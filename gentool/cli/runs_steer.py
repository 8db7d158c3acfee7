"""``gentool runs stop``, ``checkpoint`` and ``tag``."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from gentool import runs as store
from gentool.console import say, tell
from gentool.errors import UserError, printable
from gentool.files import user_errors
from gentool.train.standing import LONGEST_TAG, MOST_TAGS, TAGS, read_tags, standing
from gentool.train.steering import request_checkpoint
from gentool.train.steering import stop as stop_training

Wait = Annotated[float, typer.Option("--wait", min=0, help="Seconds to wait for it.")]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="A run that is being trained.")]


def stop(run: RunName, wait: Wait = 600) -> None:
    """Stop a training as Ctrl-C would: it finishes its step, saves, and ends."""
    found = store.find(run)
    if not stop_training(found, wait):
        raise UserError(
            f"{printable(str(found.path))} was told to stop, but has not ended after {wait:g} "
            "seconds; it ends when its step is done"
        )
    stand = standing(found)
    if stand.state == "finished":
        say("it was finished already")
    else:
        say(f"stopped at step {stand.step}; go on with: gentool resume {_typed(found)}")
    tell(str(found.path))


def checkpoint(run: RunName, wait: Wait = 600) -> None:
    """Have a training write a checkpoint now, and go on; say where it is."""
    found = store.find(run)
    if not request_checkpoint(found, wait):
        raise UserError(
            f"{printable(str(found.path))} was asked for a checkpoint, but has not written it "
            f"after {wait:g} seconds; it does when its step is done"
        )
    newest = max((p for p in found.state.glob("step-*")), key=lambda p: (len(p.name), p.name))
    tell(str(newest))


def tag(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run.")],
    tags: Annotated[
        list[str] | None, typer.Argument(metavar="[TAG]…", help="Words; none: print those it has.")
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take these away instead.")] = False,
) -> None:
    """Give a run words to find it by: `gentool runs list --where tag=WORD`."""
    found = store.find(run)
    with found.folder() as folder:
        store.read_config(folder)
        now = read_tags(folder)
        for word in tags or []:
            if not word.strip() or len(word) > LONGEST_TAG or not word.isprintable():
                raise UserError(
                    f"the tag {printable(word, 40)!r} is empty, longer than {LONGEST_TAG} letters, "
                    "or not to be printed"
                )
        now = [
            t for t in dict.fromkeys([*now, *(tags or ())]) if not (remove and t in (tags or ()))
        ]
        if len(now) > MOST_TAGS:
            raise UserError(f"a run has at most {MOST_TAGS} tags; take some away with --remove")
        if tags:
            with user_errors("the tags", found.path / TAGS):
                folder.write_json(TAGS, now)
    for word in now:
        tell(word)


def _typed(run: store.Run) -> str:
    return shlex.quote(str(run.path))
