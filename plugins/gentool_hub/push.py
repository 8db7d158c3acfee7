"""Sending a folder to Hugging Face: ``gentool export RUN folder --push USER/NAME``."""

from __future__ import annotations

import re

from gentool.errors import UserError, described, printable
from gentool.exporters import Export
from gentool_hub.folder import CARD, CONFIG, PICTURE, WEIGHTS

try:
    from huggingface_hub import HfApi
except ImportError as error:
    raise UserError("--push needs huggingface_hub; run: pip install 'gentool[hub]'") from error

NAME = re.compile(r"[\w.-]{1,96}(/[\w.-]{1,96})?", re.ASCII)


def push(job: Export, place: str) -> str:
    """Upload what `gentool_hub.folder.export` wrote; a repository that is new is private.

    The person is whom ``hf auth login``, or HF_TOKEN, says.

    Returns:
        the address.

    Raises:
        UserError: for a name that none can have, and for whatever the hub refuses.
    """
    if not NAME.fullmatch(place):
        raise UserError(f"--push {printable(place, 80)!r} is no USER/NAME")
    hub = HfApi(library_name="gentool")
    try:
        repository = hub.create_repo(place, private=True, exist_ok=True)
        hub.upload_folder(
            repo_id=repository.repo_id,
            folder_path=job.out,
            allow_patterns=[CONFIG, WEIGHTS, CARD, PICTURE],
            commit_message="Written by gentool export",
        )
    except (OSError, ValueError, RuntimeError) as error:  # its errors of HTTP are OSErrors
        raise UserError(
            f"{printable(place)} was not pushed ({described(error, 200)}); the folder "
            f"{printable(str(job.out))} is written, and `hf auth login` says who you are"
        ) from error
    if not job.licence:
        job.notes.append("the card names no licence; say one with --licence before you publish")
    job.notes.append("a repository that is new is private; make it public on its page")
    return str(repository)
