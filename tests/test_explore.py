"""`gentool explore` without a browser: what is answered, and that the terminal says the same."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from explorer import cell, exploring, run_line

import gentool
from gentool.explore.connections import PatientProtocol
from gentool.explore.tabs.plane import blended, spiral
from gentool.explore.worker import MOST_WAITING, BusyError, SupersededError, Worker

PAGE = Path(gentool.__file__).parent / "explore" / "page"

VAE = ("vae", "--data", "glyphs:200", "--hidden", 16, "--latent-dim", 2, "--epochs", 1)
WIDE = ("vae", "--data", "glyphs:200", "--hidden", 16, "--latent-dim", 5, "--steps", 3)
CONDITIONAL = (*WIDE, "--conditional")
RING = ("wgan", "--data", "ring", "--steps", 3)


@pytest.fixture
def vae(trained: Callable[..., Path]) -> Path:
    return trained("vae", *VAE)


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [VAE, WIDE, CONDITIONAL], ids=["flat", "wide", "conditional"])
def test_the_line_of_a_point_draws_it_to_the_pixel(
    trained: Callable[..., Path], cli: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    run = trained("run", *arguments)
    label = {"label": 3} if "--conditional" in arguments else {}
    with exploring("run") as client:
        for i, (x, y) in enumerate([(0.0, 0.0), (-1.0, 2.0), (0.337, -1.2345678)]):
            for plane in ["seeds", "principal"] + (["latent"] if arguments is VAE else []):
                found = client.ask("plane/at", x=x, y=y, plane=plane, **label)
                run_line(cli, found.command, "--force")
                assert (cell("picture.png", (1, 28, 28)) == found.parts[0]).all(), (plane, i)
                copied = [*found.facts["point"].removeprefix("z:").split(",")]
                assert [float(np.float32(v)) for v in copied] == found.facts["z"]
    assert run.is_dir()


@pytest.mark.slow
def test_the_line_of_a_grid_writes_the_same_file(
    trained: Callable[..., Path], cli: Callable[..., Any]
) -> None:
    trained("run", *CONDITIONAL)
    trained("ring", *RING)
    with exploring("run", "ring") as client:
        for question in [{"n": 16, "seed": 3}, {"n": 30, "class": "all"}, {"n": 5, "class": "7"}]:
            found = client.ask("samples/grid", **question)
            run_line(cli, found.command, "--force")
            assert Path("samples.png").read_bytes() == found.parts[0]
        found = client.ask("samples/grid", run=1, n=100)
        run_line(cli, found.command, "--force")
        assert Path("samples.png").read_bytes() == found.parts[0]


def test_the_nearest_training_images_are_nearest(trained: Callable[..., Path]) -> None:
    trained("run", *VAE)
    model = gentool.load("run")
    x = model.sample(16, seed=2).numpy()[5]
    from gentool import data

    train = data.load(model.data_options).train.x  # type: ignore[arg-type]
    errors = ((train / 255.0 - x) ** 2).mean((1, 2, 3))
    with exploring("run") as client:
        found = client.ask("samples/neighbours", n=16, seed=2, index=5)
    order = errors.argsort()[:8]
    assert found.facts["examples"] == [f"train:{i}" for i in order]
    assert np.allclose(found.facts["errors"], errors[order], rtol=1e-5)
    assert (found.parts[1][..., 0] == train[order[0]][0]).all()


def test_a_model_of_points(trained: Callable[..., Path], cli: Callable[..., Any]) -> None:
    trained("ring", *RING)
    with exploring("ring") as client:
        found = client.ask("plane/at", x=0.3, y=0.4, plane="seeds")
        run_line(cli, found.command)
        assert (np.load("point.npz")["x"] == found.parts[0]).all()
        mesh = client.ask("plane/tiles", side=5, left=-1, right=1, bottom=-1, top=1).parts[0]
        assert mesh.shape == (5, 5, 2)
        # The middle of five tiles is the middle of the view.
        middle = client.ask("plane/at", x=0, y=0, plane="seeds").parts[0]
        assert np.allclose(mesh[2, 2], middle[0], atol=1e-6)
        assert client.ask("plane/scatter").facts["real"] is True


def test_tiles_lie_where_they_say(vae: Path) -> None:
    view = {"side": 3, "left": -3, "right": 3, "bottom": -3, "top": 3, "plane": "latent"}
    with exploring("vae") as client:
        sheet = client.ask("plane/tiles", **view).parts[0]
        one = client.ask("plane/at", x=2, y=2, plane="latent").parts[0]
        found = client.ask("plane/scatter", plane="latent")
    assert sheet.shape == (84, 84, 1)
    assert np.abs(sheet[:28, 56:].astype(int) - one).max() <= 1  # batches round differently
    from gentool import data

    model = gentool.load("vae")
    test = data.load(model.data_options).test  # type: ignore[arg-type]
    z = model.encode(torch.from_numpy(np.array(test.x)).float() / 255)
    assert np.allclose(found.parts[0], z[:2000].numpy(), atol=1e-5)
    assert (found.parts[1] == np.asarray(test.labels)[:2000]).all()


def test_the_plane_of_seeds_is_a_bijection_and_keeps_the_prior(vae: Path) -> None:
    numbers = [spiral(i, j) for i in range(-20, 21) for j in range(-20, 21)]
    assert sorted(numbers) == list(range(41 * 41))
    from gentool.explore.session import open_one

    subject = open_one("vae")
    generator = np.random.default_rng(0)
    z = torch.cat([blended(subject, *generator.uniform(-5, 5, 2)) for _ in range(400)])
    # Without the root the variance would be E Σ wᵢ² = (2/3)² = 0.44.
    assert abs(z.var().item() - 1) < 0.3 and abs(z.mean().item()) < 0.3


AT = {"x": 0, "y": 0}


def through(point: Any) -> dict[str, Any]:
    """A question for the plane through a point, thrice."""
    return {**AT, "plane": "points", "points": [point] * 3}


HOSTILE: list[tuple[str, dict[str, Any], str]] = [
    ("plane/at", {"x": 1e30, "y": 0}, "between"),
    ("plane/at", {"x": "nan", "y": 0}, "no number"),
    ("plane/at", {"x": True, "y": 0}, "no number"),
    ("plane/at", {"y": 0}, "no number"),
    ("plane/at", {**AT, "plane": "../../etc/passwd"}, "none of"),
    ("plane/at", through({"z": [1, 2, 3]}), "2 numbers"),
    ("plane/at", through({"z": [1e30, 0]}), "between"),
    ("plane/at", through({"z": ["a", 0]}), "numbers"),
    ("plane/at", through({"z": [0.0] * 50_000}), "2 numbers"),
    ("plane/at", through({"example": "/etc/passwd"}), "no example"),
    ("plane/at", through({"example": "mnist:test:1"}), "no example"),
    ("plane/at", through({"example": "test:99999"}), "there is no test:99999"),
    ("plane/at", through({"pixels": "AAAA"}), "3 values"),
    ("plane/at", through({"pixels": "!" * 1000}), "base64"),
    ("plane/at", through({}), "a point is"),
    ("plane/at", through(7), "three"),
    ("plane/at", {**AT, "plane": "points", "points": 7}, "no list"),
    ("plane/at", {**AT, "run": 5}, "no such run"),
    ("plane/tiles", {"side": 10**9, "left": 0, "right": 1, "bottom": 0, "top": 1}, "between"),
    ("samples/grid", {"n": 10**9}, "between"),
    ("samples/grid", {"seed": -1}, "between"),
    ("samples/grid", {"n": 1.5}, "whole number"),
    ("samples/grid", {"class": "3"}, "not class-conditional"),
    ("samples/neighbours", {"n": 4, "index": 4}, "between"),
]


def test_hostile_questions_are_answered_in_words(vae: Path) -> None:
    with exploring("vae") as client:
        for address, question, words in HOSTILE:
            assert words in client.failure(address, **question), (address, question)
        bodies = [b"", b"[]", b"{", b"\xff\xfe", b'{"x": NaN, "y": 0}', b'{"x": Infinity, "y": 0}']
        bodies += [b"[" * 100_000, b'{"x": ' + b"9" * 6000 + b"}", b'{"x": 1e999, "y": 0}']
        for body in bodies:
            status, _, answer = client.raw("POST", "/api/plane/at", body)
            assert status in (200, 422) and b"error" in answer, body[:20]
        assert client.ask("plane/at", x=0, y=0).parts[0].shape == (28, 28, 1)


def test_who_may_ask(vae: Path) -> None:
    with exploring("vae") as client:
        port = client.explorer.port

        def status(path: str = "/api/info", method: str = "POST", **headers: str) -> int:
            return client.raw(method, path, b"{}" if method == "POST" else b"", **headers)[0]

        assert status() == 200
        for token in ["", "wrong", client.explorer.token[:-1], client.explorer.token + "x", "é"]:
            assert status(X_Gentool_Token=token) == 403
        for name in ["127.0.0.1", f"127.0.0.1:{port}", f"localhost:{port}", f"[::1]:{port}"]:
            assert status(Host=name) == 200
        for name in ["evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", "", "[::1"]:
            assert status(Host=name) == 403
            assert status("/", "GET", Host=name) == 403
        own = f"127.0.0.1:{port}"
        assert status(Origin=f"http://{own}", Host=own) == 200
        for origin in [
            "https://evil.example",
            "null",
            f"http://localhost:{port}",
            "http://127.0.0.1",
        ]:
            assert status(Origin=origin, Host=own) == 403
        assert status(method="GET") == 405 and status("/", "POST") == 405
        assert status("/", "GET", X_Gentool_Token="") == 200  # the page itself holds nothing
        for path in [
            "/../session.py",
            "/..%2fsession.py",
            "/nothing",
            "/page/main.js",
            "//main.js",
        ]:
            assert status(path, "GET") == 404
        assert status("/api/plane/nothing") == 404
        assert client.raw("POST", "/api/info", b"x" * (2**20 + 1))[0] == 413


def test_every_answer_forbids_other_hosts(vae: Path) -> None:
    with exploring("vae") as client:
        for method, path in [("GET", "/"), ("GET", "/main.js"), ("POST", "/api/info")]:
            _, headers, _ = client.raw(method, path)
            assert "default-src 'none'" in headers["content-security-policy"]
            assert "server" not in headers


def test_the_page_is_small_and_asks_nobody_else() -> None:
    files = {path.name: path.read_text(encoding="utf-8") for path in PAGE.iterdir()}
    assert sum(len(text.encode()) for text in files.values()) < 150_000
    for name, text in files.items():
        assert not re.search(r"(https?:)?//[a-z0-9-]+\.[a-z]", text), name
        assert "eval(" not in text and "innerHTML" not in text, name


def test_the_modules_can_be_joined_into_one_file() -> None:
    """Only named imports from beside, and no name twice at the top: what a one-file page needs."""
    seen: dict[str, str] = {}
    for path in PAGE.glob("*.js"):
        text = path.read_text(encoding="utf-8")
        for line in re.findall(r"^import[^;]*;", text, re.MULTILINE):
            assert re.fullmatch(r'import \{[\w\s,]+\} from "\./[\w-]+\.js";', line), line
        assert not re.search(r"^export (default|\*|\{)", text, re.MULTILINE)
        pattern = r"^(?:export )?(?:async )?(?:function\*?|const|let|class) (\w+)"
        for name in re.findall(pattern, text, re.MULTILINE):
            assert name not in seen, f"{name} is in {path.name} and in {seen[name]}"
            seen[name] = path.name


def test_the_newest_position_wins_and_no_queue_grows() -> None:
    asyncio.run(_newest())


async def _newest() -> None:
    worker, release, done = Worker(), threading.Event(), []

    def job(name: str) -> Callable[[], Any]:
        def produce() -> Any:
            if name == "first":
                release.wait(20)
            done.append(name)
            yield name.encode()

        return produce

    worker.start()
    first = worker.submit("a", job("first"))
    while worker._waiting:
        await asyncio.sleep(0.01)
    others = [worker.submit("drag", job(f"drag {i}")) for i in range(1000)]
    assert len(worker._waiting) == 1
    for i in range(MOST_WAITING - 1):
        worker.submit(i, job(f"other {i}"))
    with pytest.raises(BusyError):
        worker.submit("one too many", job("too many"))
    release.set()
    assert await first.frames.get() == b"first"
    assert isinstance(await others[0].frames.get(), SupersededError)
    assert await others[-1].frames.get() == b"drag 999"
    assert [name for name in done if name.startswith("drag")] == ["drag 999"]
    worker.close()


def test_short_questions_pass_long_work() -> None:
    asyncio.run(_passing())


async def _passing() -> None:
    worker, order, begun = Worker(), [], threading.Event()

    def long() -> Any:
        for _ in range(200):
            begun.set()
            threading.Event().wait(0.01)
            worker.breathe()
            if "short" in order:
                break
        order.append("long")
        yield b"long"

    def short() -> Any:
        order.append("short")
        yield b"short"

    worker.start()
    slow = worker.submit("slow", long, long=True)
    while not begun.is_set():
        await asyncio.sleep(0.01)
    quick = worker.submit("quick", short)
    assert await quick.frames.get() == b"short"
    assert await slow.frames.get() == b"long"
    assert order == ["short", "long"]
    worker.close()


def test_long_work_ends_when_a_newer_question_comes() -> None:
    asyncio.run(_ending())


async def _ending() -> None:
    worker, begun = Worker(), threading.Event()

    def endless() -> Any:
        while True:
            begun.set()
            threading.Event().wait(0.005)
            worker.breathe()
        yield b""

    worker.start()
    slow = worker.submit("key", endless, long=True)
    while not begun.is_set():
        await asyncio.sleep(0.01)
    newer = worker.submit("key", lambda: iter([b"newer"]), long=True)
    assert isinstance(await slow.frames.get(), SupersededError)
    assert await newer.frames.get() == b"newer"
    worker.close()


def test_an_answer_waits_for_no_acknowledgement(vae: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without TCP_NODELAY each answer took 40 ms more: its body waited for its head's."""
    seen, received = [], PatientProtocol.data_received

    def look(self: PatientProtocol, data: bytes) -> None:
        one = self.transport.get_extra_info("socket")
        seen.append(one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        received(self, data)

    monkeypatch.setattr(PatientProtocol, "data_received", look)
    with exploring("vae") as client:
        client.ask("samples/grid", n=1)
    assert seen and all(seen)


def test_a_port_in_use_is_one_sentence(vae: Path, cli: Callable[..., Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = cli("explore", "vae", "--port", port, "--no-browser")
    assert result.code == 2 and str(port) in result.err and result.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(("nothing",), "no run"), (("vae", "--port", 70000), "65535"), (("vae", "--host", "é."), "é")],
)
def test_mistakes(
    vae: Path, cli: Callable[..., Any], arguments: tuple[Any, ...], words: str
) -> None:
    result = cli("explore", *arguments, "--no-browser")
    assert result.code == 2 and words in result.err and result.err.count("\n") == 1


@pytest.mark.slow
def test_ctrl_c_ends_it_cleanly(vae: Path) -> None:
    command = [sys.executable, "-m", "gentool", "explore", "vae", "--no-browser"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that started these tests in the background has them ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        limit = threading.Timer(60, process.kill)  # leaving the block would wait for ever
        limit.start()
        url = process.stdout.readline()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/#[\w-]{20,}\n", url)
        line = process.stderr.readline()
        port = int(url.split(":")[2].split("/")[0])
        for _ in range(100):
            with socket.socket() as one:
                if one.connect_ex(("127.0.0.1", port)) == 0:
                    break
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        limit.cancel()
        assert line + process.stderr.read() == "Ctrl-C ends it.\n"


def test_a_run_without_a_model_is_opened(trained: Callable[..., Path]) -> None:
    run = trained("run", *VAE)
    (run / "model.safetensors").unlink()
    with exploring("run") as client:
        facts = client.ask("info").facts["runs"][0]
        assert facts["kind"] == "none"
        assert "no model yet" in client.failure("plane/at", x=0, y=0)
