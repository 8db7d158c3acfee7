"""Captured updates, with a stand-in for the recorder: what runs when, on which memory."""

from __future__ import annotations

import gc
from collections.abc import Callable

import pytest
import torch

from gentool.model import Batch
from gentool.train.batches import Draw
from gentool.train.graph import WARM_UP, CapturedUpdate, capture_cuda


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


class FakeCuda:
    """What `capture_cuda` uses of torch.cuda; ending a capture fails where something in it did."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fails: bool = False) -> None:
        self.stream, self.fails = "main", fails
        monkeypatch.setattr(torch.cuda, "CUDAGraph", object)
        monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
        monkeypatch.setattr(torch.cuda, "current_stream", lambda: self.stream)
        monkeypatch.setattr(torch.cuda, "set_stream", lambda s: setattr(self, "stream", s))
        monkeypatch.setattr(torch.cuda, "graph", lambda graph: self)

    def __enter__(self) -> None:
        self.stream = "capture"

    def __exit__(self, *_: object) -> None:
        if self.fails:  # as torch does: before it goes back to the stream it came from
            raise RuntimeError("operation failed due to a previous error during capture")
        self.stream = "main"


def test_garbage_is_collected_before_a_capture_and_never_within(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Freeing an older graph while one is captured would invalidate it."""
    FakeCuda(monkeypatch)
    freed: list[str] = []

    class Graph:
        def __init__(self) -> None:
            self.cycle = self  # as a player's closures make one

        def __del__(self) -> None:
            freed.append(when)

    when = "before"

    def work() -> None:
        nonlocal when
        when = "within"
        Graph()
        [[i] for i in range(100_000)]  # enough to set the collector off

    gc.collect()
    del freed[:]
    Graph()
    capture_cuda(work)
    assert freed == ["before"]
    assert gc.isenabled()


def test_a_failed_capture_leaves_the_stream_and_tells_the_first_cause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cuda = FakeCuda(monkeypatch, fails=True)
    seen: list[float] = []

    def update(d: Draw) -> None:
        if cuda.stream == "capture":
            raise RuntimeError("Cannot copy between CPU and CUDA tensors during capture\nmore")
        seen.append(d.batch.x.mean().item())

    captured = CapturedUpdate(update, capture_cuda)
    assert captured.state == "not captured yet"
    for i in range(WARM_UP + 2):
        captured(draw(float(i)))
    assert cuda.stream == "main" and gc.isenabled()
    assert seen == [float(i) for i in range(WARM_UP + 2)]
    assert captured.state == (
        "not captured: Cannot copy between CPU and CUDA tensors during capture"
    )
