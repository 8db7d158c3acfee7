"""Captured updates, with a stand-in for the recorder: what runs when, on which memory."""

from __future__ import annotations

from collections.abc import Callable

import torch

from gentool.model import Batch
from gentool.train.batches import Draw
from gentool.train.graph import WARM_UP, CapturedUpdate


class Recorder:
    """Remembers the work instead of running it, as a CUDA graph does."""

    def __init__(self, fails: bool = False) -> None:
        self.fails, self.captures, self.replays = fails, 0, 0

    def __call__(self, work: Callable[[], None]) -> Recorder:
        if self.fails:
            raise RuntimeError("operation not permitted when stream is capturing\nmore")
        self.captures += 1
        self.work = work
        return self

    def replay(self) -> None:
        self.replays += 1
        self.work()


def draw(value: float, n: int = 4) -> Draw:
    x = torch.full((n, 2), value)
    return Draw(Batch(x, torch.full((n,), int(value)), x.to(torch.uint8)), 0, n)


def test_every_batch_is_seen_once_and_replays_read_the_new_data() -> None:
    seen: list[tuple[float, int]] = []
    recorder = Recorder()

    def update(d: Draw) -> None:
        assert d.batch.labels is not None and d.batch.pixels is not None
        assert int(d.batch.labels[0]) == int(d.batch.pixels[0, 0]) == d.batch.x[0, 0].item()
        seen.append((d.batch.x.mean().item(), len(d.batch.x)))

    captured = CapturedUpdate(update, recorder)
    sent = [(float(i), 4) for i in range(WARM_UP + 4)] + [(99.0, 3), (100.0, 4)]
    for value, n in sent:
        captured(draw(value, n))
    assert seen == sent
    assert recorder.captures == 1 and recorder.replays == 5


def test_what_cannot_be_captured_runs_as_usual_and_is_tried_once() -> None:
    seen: list[float] = []
    recorder = Recorder(fails=True)
    captured = CapturedUpdate(lambda d: seen.append(d.batch.x.mean().item()), recorder)
    for i in range(WARM_UP + 3):
        captured(draw(float(i)))
    assert seen == [float(i) for i in range(WARM_UP + 3)]
    assert captured.failure == "operation not permitted when stream is capturing"
