"""Writing checkpoints while training goes on."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

from gentool.errors import UserError, printable
from gentool.files import user_errors
from gentool.runs import Run
from gentool.train.state import Checkpoint, save
from gentool.weights import Header, save_model


class Saver:
    """Saves one checkpoint at a time in a thread; what goes wrong there is raised at the next."""

    def __init__(self, run: Run, header: Header, keep: int) -> None:
        self.run, self.header, self.keep = run, header, keep
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
        with user_errors("the model", self.run.model):
            save_model(self.run.model, weights, self.header)
            if checkpoint.values["is_best"]:
                save_model(self.run.best, weights, self.header)

    def _save(self, checkpoint: Checkpoint) -> None:
        if not self.run.path.is_dir():
            raise UserError(
                f"the run's folder {printable(str(self.run.path))} is gone, so nothing can be "
                "saved; put it back, or train again"
            )
        save(self.run.state, checkpoint.values["step"], checkpoint, self.keep)
        self.derive(checkpoint)
