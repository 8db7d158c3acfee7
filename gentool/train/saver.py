"""Writing checkpoints while training goes on."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

from gentool.errors import UserError, printable
from gentool.files import user_errors
from gentool.folder import Folder
from gentool.train.state import Checkpoint, save
from gentool.weights import Header, model_bytes


class Saver:
    """Saves one checkpoint at a time in a thread; what goes wrong there is raised at the next."""

    def __init__(self, folder: Folder, header: Header, keep: int) -> None:
        """`folder` is the run's; `keep` says how many checkpoints stay."""
        self.folder, self.header, self.keep = folder, header, keep
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="saver")
        self._pending: Future[None] | None = None

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, whose tensors training will not touch again, and what follows."""
        self.wait()
        self._pending = self._thread.submit(self._save, checkpoint)

    def wait(self) -> None:
        """Return when everything is on disk; raises UserError where it could not be written."""
        if self._pending is not None:
            pending, self._pending = self._pending, None
            pending.result()

    def close(self) -> None:
        """Finish, quietly: a failure was either raised already or is beside the point."""
        self._thread.shutdown(wait=True)

    def derive(self, checkpoint: Checkpoint) -> None:
        """Write the model file that samples, and the best one if this is it.

        Also done on resume: a process may die between a checkpoint and what follows from it.
        """
        weights = checkpoint.groups.get("average", checkpoint.groups["weights"])
        content = model_bytes(weights, self.header)
        names = [
            "model.safetensors",
            *(["best.safetensors"] if checkpoint.values["is_best"] else []),
        ]
        for name in names:
            with user_errors("the model", self.folder.path / name):
                self.folder.write(name, content)

    def _save(self, checkpoint: Checkpoint) -> None:
        require_there(self.folder)
        with user_errors("the checkpoints", self.folder.path / "state"):
            state = self.folder.folder("state", make=True)
        with state:
            save(state, checkpoint.values["step"], checkpoint, self.keep)
        self.derive(checkpoint)


def require_there(folder: Folder) -> None:
    """Raise UserError where the run's folder was deleted while it is trained."""
    if folder.is_gone():
        raise UserError(
            f"the run's folder {printable(str(folder.path))} was deleted, so nothing can be "
            "saved; train again"
        )
