"""Data that does not fit: batches gathered ahead are the very batches gathered on the spot, the
thread leaves, and nothing on the way is held in memory whole."""

from __future__ import annotations

import dataclasses
import gc
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from gentool.data import DataOptions, load
from gentool.data.dataset import Split
from gentool.train import batches, prefetch
from gentool.train.batches import BatchLoader, Draw, some_examples
from gentool.train.distributed import World

CPU = torch.device("cpu")
N = 50


def images(n: int = N) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (n, 3, 4, 5), dtype=np.uint8)


def mapped(folder: Path, array: np.ndarray) -> np.memmap:
    path = folder / "x.npy"
    np.save(path, array)
    return np.load(path, mmap_mode="r")


def threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("gentool-prefetch")]


def until(condition: Callable[[], bool]) -> bool:
    """Whether the condition comes true; it gives up only where it never will."""
    deadline = time.monotonic() + 300
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    gc.collect()
    assert until(lambda: not threads())


@pytest.fixture
def everything_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mapped files of any size are gathered ahead."""
    monkeypatch.setattr(batches, "LARGE", 0)


class Stream:
    """A stand-in for a CUDA stream that puts every copy off for as long as it may."""

    def __init__(self) -> None:
        self.queue: list[Callable[[], object]] = []
        self.done = 0

    def run(self, until: int) -> None:
        for work in self.queue[self.done : until]:
            work()
        self.done = max(self.done, until)


class Event:
    """A stand-in for `torch.cuda.Event`: waiting for it runs the stream up to where it was."""

    def __init__(self, blocking: bool = False) -> None:
        self.recorded: tuple[Stream, int] | None = None

    def record(self, stream: Stream) -> None:
        self.recorded = stream, len(stream.queue)

    def synchronize(self) -> None:
        if self.recorded is not None:
            stream, place = self.recorded
            stream.run(place)


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> Stream:
    """A device that copies later: whoever overwrites what it has yet to read is found out."""
    one = Stream()

    def copy(slot: prefetch.PinnedSlot, pinned: Tensor) -> Tensor:
        out = torch.empty_like(pinned)
        one.queue.append(lambda: out.copy_(pinned))
        return out

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: one)
    monkeypatch.setattr(prefetch.PinnedSlot, "_copy", copy)
    return one


@pytest.fixture(params=["host", "pinned"])
def slots(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, everything_ahead: None
) -> None:
    """Everything goes ahead, through either kind of memory; the pinned one copies at once."""
    if request.param == "host":
        return
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream())
    monkeypatch.setattr(
        prefetch, "to_host", lambda source, rows, n: prefetch.to_cuda(source, rows, n, CPU)
    )


def same(a: Draw, b: Draw) -> None:
    assert (a.offset, a.total) == (b.offset, b.total)
    for one, other in zip(vars(a.batch).values(), vars(b.batch).values(), strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            assert torch.equal(one, other) and one.stride() == other.stride()


@pytest.mark.usefixtures("slots")
@pytest.mark.parametrize("rank_of", [(0, 1), (0, 3), (2, 5)])
@pytest.mark.parametrize(
    "layout", [torch.contiguous_format, pytest.param(torch.channels_last, marks=pytest.mark.slow)]
)
def test_batches_are_those_without_prefetching(
    tmp_path: Path, rank_of: tuple[int, int], layout: torch.memory_format
) -> None:
    """Over three epochs with a ragged last batch; labels, flips, layout, shares of a batch.

    Of 7 rows the third of five processes gets two, of 8 but one: N % 8 and 8 are such a case.
    """
    x, labels = images(47), np.arange(47, dtype=np.int64)
    world = World(CPU, *rank_of)
    plain, ahead = (
        BatchLoader(Split(source, labels), 8, CPU, seed=3, flip=True, world=world, layout=layout)
        for source in (x, mapped(tmp_path, x))
    )
    assert plain._ahead is None and ahead._ahead is not None
    kept = [(plain.at(step), ahead.at(step)) for step in range(3 * 6)]
    for a, b in kept:  # afterwards: what was handed out must not be overwritten
        same(a, b)


@pytest.mark.usefixtures("slots")
def test_any_step_may_be_asked_for(tmp_path: Path) -> None:
    """As after a resume in the middle, backwards, twice, and across epochs."""
    x = images()
    plain, ahead = (
        BatchLoader(Split(source), 8, CPU, seed=5) for source in (x, mapped(tmp_path, x))
    )
    for step in (11, 12, 13, 3, 3, 4, 100, 0, 1, 2, 1):
        same(plain.at(step), ahead.at(step))


@pytest.mark.usefixtures("slots")
def test_an_epoch_has_no_example_twice(tmp_path: Path) -> None:
    x = mapped(tmp_path, np.arange(N, dtype=np.float32)[:, None])
    loader = BatchLoader(Split(x), 8, CPU, seed=1)
    orders = []
    for epoch in range(2):
        seen = [loader.at(step).batch.x for step in range(epoch * 7, epoch * 7 + 7)]
        assert [len(part) for part in seen] == [8, 8, 8, 8, 8, 8, 2]
        orders.append(torch.cat(seen).flatten().tolist())
        assert sorted(orders[-1]) == list(range(N))
    assert orders[0] != orders[1]


def test_no_batch_is_overwritten_before_the_device_has_read_it(stream: Stream) -> None:
    x = images()
    order = batches.Order(N, 8, 7, 2, World(CPU))
    ahead = prefetch.to_cuda(x, order.rows, 8, CPU)
    sent = {step: ahead.take(step) for step in [*range(20), 5, 6, *range(30, 40)]}
    late = len(stream.queue) - stream.done
    assert late >= 2 * prefetch.AHEAD, "the device was waited for where it need not have been"
    stream.run(len(stream.queue))
    for step, (found, rows) in sent.items():
        assert torch.equal(rows, order.rows(step))
        assert torch.equal(found, torch.from_numpy(x[rows.numpy()]))


@pytest.mark.usefixtures("everything_ahead")
def test_what_goes_wrong_in_the_thread_is_raised_where_the_batch_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = images()
    plain, loader = BatchLoader(Split(x), 8, CPU), BatchLoader(Split(mapped(tmp_path, x)), 8, CPU)
    gather, bad = prefetch._gather, loader.order.rows(3)

    def failing(source: np.ndarray, rows: Tensor, out: Tensor) -> None:
        if torch.equal(rows, bad):
            raise OSError("the disk is gone")
        gather(source, rows, out)

    monkeypatch.setattr(prefetch, "_gather", failing)
    for step in range(3):
        same(plain.at(step), loader.at(step))
    for _ in range(2):
        with pytest.raises(OSError, match="the disk is gone"):
            loader.at(3)
    same(plain.at(4), loader.at(4))
    monkeypatch.setattr(prefetch, "_gather", gather)
    same(plain.at(3), loader.at(3))


@pytest.mark.usefixtures("everything_ahead")
def test_the_thread_ends_with_the_feed(tmp_path: Path) -> None:
    x = images()
    loader = BatchLoader(Split(mapped(tmp_path, x)), 8, CPU)
    assert not threads(), "started before a batch was asked for"
    loader.at(0)
    assert len(threads()) == 1
    loader.close()
    assert not threads()
    same(BatchLoader(Split(x), 8, CPU).at(1), loader.at(1))  # it takes up its work again
    assert len(threads()) == 1
    gc.disable()  # by reference counts alone: a cycle would keep mapped memory for long
    try:
        del loader
        assert until(lambda: not threads())
    finally:
        gc.enable()


@pytest.mark.slow
def test_the_interpreter_ends_in_the_middle_of_an_epoch(tmp_path: Path) -> None:
    mapped(tmp_path, images())
    program = (
        "import sys, numpy as np, torch\n"
        "from gentool.data.dataset import Split\n"
        "from gentool.train import batches\n"
        "batches.LARGE = 0\n"
        "x = np.load(sys.argv[1], mmap_mode='r')\n"
        "loader = batches.BatchLoader(Split(x), 8, torch.device('cpu'))\n"
        "print(len(loader.at(0).batch.x))\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "x.npy")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "8", "")


def test_only_large_mapped_files_are_gathered_ahead_on_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = images()
    file = mapped(tmp_path, x)
    monkeypatch.setattr(batches, "LARGE", x.nbytes)
    assert BatchLoader(Split(file), 8, CPU)._ahead is not None
    assert BatchLoader(Split(file[: N - 1]), 8, CPU)._ahead is None
    assert BatchLoader(Split(x), 8, CPU)._ahead is None, "it lies in memory"
    assert BatchLoader(Split(file[np.arange(N)]), 8, CPU)._ahead is None, "a copy in memory"


def test_large_batches_are_gathered_fewer_ahead() -> None:
    image = np.empty((1, 3, 512, 512), np.uint8)
    assert prefetch._ahead(image, 8) == prefetch.AHEAD
    assert prefetch._ahead(image, 128) == 2
    assert prefetch._ahead(image, 4096) == 1


def test_a_look_at_large_images_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that prepares itself on examples must not take gigabytes for them."""
    monkeypatch.setattr(batches, "SOME", 100 * 3 * 64 * 64 + 1)
    large = np.broadcast_to(np.uint8(51), (5000, 3, 64, 64))
    seen = some_examples(Split(large), 10_000)
    torch.testing.assert_close(seen, torch.full((100, 3, 64, 64), 0.2))


@pytest.mark.slow
def test_images_made_larger_go_to_disk_as_they_are_made(tmp_path: Path) -> None:
    asked = DataOptions(data="glyphs:500", cache=str(tmp_path))
    small, large = load(asked), dataclasses.replace(asked, size="256")
    tracemalloc.start()
    try:
        found = load(large).train.x
        assert found.nbytes > 30e6 and tracemalloc.get_traced_memory()[1] < 10e6
    finally:
        tracemalloc.stop()
    assert isinstance(found, np.memmap) and found.shape == (500, 1, 256, 256)
    # A Lanczos filter leaves the mean of a picture as it was, up to rounding and clipping.
    means = [x.mean(axis=(1, 2, 3), dtype=np.float64) for x in (small.train.x, found)]
    np.testing.assert_allclose(*means, atol=2.0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_pinned_batches_reach_the_device_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the device lags behind the host, and while a graph is captured."""
    device = torch.device("cuda")
    x, labels = images(2000), np.arange(2000, dtype=np.int64)
    resident = BatchLoader(Split(x, labels), 64, device, seed=4, flip=True)
    monkeypatch.setattr(batches, "DEVICE_SHARE", 0.0)
    ahead = BatchLoader(Split(x, labels), 64, device, seed=4, flip=True)
    assert resident._ahead is None and ahead._ahead is not None
    ballast = torch.randn(4096, 4096, device=device)
    for step in range(100):
        if step == 10:
            torch.cuda.synchronize()
            with torch.cuda.graph(torch.cuda.CUDAGraph()):
                ballast @ ballast
        ballast @ ballast
        same(resident.at(step), ahead.at(step))
    kept = []
    for step in range(100, 130):  # nothing here waits for the device
        ballast @ ballast
        kept.append((step, ahead.at(step)))
    for step, draw in kept:
        same(resident.at(step), draw)
