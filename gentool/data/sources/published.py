"""Published data sets by name: a local copy, else a checked download.

A local copy is looked for in ``CACHE/downloads/NAME``, ``./NAME`` and ``./data/NAME``, and counts
where it is complete. What a name gives is what was published: the files are checked whenever they
are decoded, and what is damaged or missing in the cache is fetched again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name

from gentool import litter
from gentool.console import Progress
from gentool.data.dataset import Loaded
from gentool.data.options import DataOptions
from gentool.data.registry import Request
from gentool.data.sources.fetch import Download, FetchError, fetch
from gentool.errors import UserError, nearest, printable
from gentool.spec import DownloadInfo, SourceInfo


@dataclass(frozen=True)
class Published:
    """A published data set.

    Attributes:
        name: of its folder.
        mirrors: where its files may be had; none where only people are served.
        files: as they are published.
        classes: the names of its labels.
        content: SHA-256 of the bytes in each file's array, so that copies packed in another way are
            known too; empty where nobody has them.
        page: where a person finds the files.
    """

    name: str
    mirrors: tuple[str, ...]
    files: tuple[Download, ...]
    classes: tuple[str, ...] = ()
    content: tuple[str, ...] = ()
    page: str = ""


class NotAsPublished(Exception):
    """A file is another than the published one; the message names it, safe to print."""


def load_published(
    request: Request, published: Published, load: Callable[[Path], Loaded]
) -> Loaded:
    """Load from the folder that has all files, else from the cache's, into which they are fetched.

    Args:
        load: reads a folder; it raises NotAsPublished by `check` whenever it decodes.
    """
    home, *others = places(request.options, published)
    for place in others:
        if complete(place, published) and not complete(home, published):
            try:
                return load(place)
            except NotAsPublished as error:
                raise UserError(
                    f"{error} is not that of {published.name} as it was published; remove it"
                ) from error
    return from_home(request, published, load)


def check(folder: Path, published: Published) -> None:
    """Raise NotAsPublished for the first file that is another than the published one."""
    for file in published.files:
        if not file.is_in(folder / file.name):
            raise NotAsPublished(printable(str(folder / file.name)))


def complete(folder: Path, published: Published) -> bool:
    """Whether a folder has all files, by their names."""
    return all((folder / file.name).is_file() for file in published.files)


def places(options: DataOptions, published: Published) -> tuple[Path, Path, Path]:
    """Where the files are looked for; the first is the cache's folder."""
    home = options.cache_folder() / "downloads" / published.name
    return home, Path(published.name), Path("data") / published.name


def from_home(request: Request, published: Published, load: Callable[[Path], Loaded]) -> Loaded:
    """Load from the cache folder, where what is missing, and once what is damaged, is fetched."""
    home = places(request.options, published)[0]
    download(published, home, request.progress)
    try:
        return load(home)
    except (NotAsPublished, UserError) as error:
        wrong = [file for file in published.files if not file.is_in(home / file.name)]
        if isinstance(error, UserError) and not wrong:
            raise
        problem = error
    try:
        download(published, home, request.progress, wrong)
        return load(home)
    except UserError:
        raise (
            problem if isinstance(problem, UserError) else _damaged(published, problem)
        ) from None
    except NotAsPublished as error:
        raise _damaged(published, error) from error


def _damaged(published: Published, error: NotAsPublished) -> UserError:
    return UserError(
        f"{error} is not that of {published.name} as it was published, and it cannot be "
        "fetched again; remove it, or put the published one there"
    )


def download(
    published: Published, home: Path, progress: Progress, again: Sequence[Download] = ()
) -> list[Download]:
    """Fetch what is missing into the folder; returns those files. Raises UserError.

    Args:
        again: files that are there but damaged.
    """
    with litter.opened(home, marked=True) as folder:
        if folder is not None:
            litter.sweep(folder, litter.ASIDE)
    fetched = []
    for file in published.files:
        # An IDX file may be there unpacked.
        present = (home / file.name).is_file() or (home / file.name.removesuffix(".gz")).is_file()
        if present and file not in again:
            continue
        try:
            litter.make_marked(home)
            fetch(file, published.mirrors, home, progress)
            fetched.append(file)
        except (FetchError, OSError) as error:
            files = ", ".join(file.name for file in published.files)
            state = "is damaged here" if file in again else "is not on this machine"
            why = error.strerror if isinstance(error, OSError) else error
            if not str(why):
                why = f"it is given to people alone, at {published.page}"
            raise UserError(
                f"{published.name} {state} and cannot be downloaded ({why}); put {files} "
                f"into {printable(str(home))}"
            ) from error
    return fetched


def fetch_ahead(
    name: str,
    sources: Sequence[SourceInfo | DownloadInfo],
    options: DataOptions,
    progress: Progress,
) -> tuple[Path, list[str], list[str]]:
    """Fetch what a name needs, and check what is there already.

    Returns:
        the folder, the names of all files, and of those that were fetched now.

    Raises:
        UserError: for a name that needs no download, or where one is not to be had.
    """
    known = {one.name: one for one in sources if one.published}
    name = name.partition(":")[0]
    if name not in known:
        here = any(
            one.name == name and isinstance(one, SourceInfo) and one.kind != "path"
            for one in sources
        )
        what = "needs no download" if here else "is no data set that gentool downloads"
        raise UserError(
            f"{printable(name)} {what}{'' if here else nearest(name, list(known))}; those that it "
            f"does are {', '.join(sorted(known))}"
        )
    published: Published = resolve_name(known[name].published)
    home = places(options, published)[0]
    wrong = [
        file
        for file in published.files
        if (home / file.name).is_file() and not file.is_in(home / file.name)
    ]
    fetched = download(published, home, progress, wrong)
    return home, [file.name for file in published.files], [file.name for file in fetched]
