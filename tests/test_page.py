"""`gentool export RUN page.html`: what the file holds, and what a browser makes of it, offline."""

from __future__ import annotations

import base64
import io
import json
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from browsing import chromium
from conftest import Result
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

import gentool
from gentool.errors import UserError
from gentool.explore.session import Subject, open_one
from gentool.explore.tabs import TABS, sliders
from gentool.explore.wire import Answer, Ask, File, finite
from gentool.noise import sampling_noise
from gentool_page import tensors
from gentool_page.document import bundle, container
from gentool_page.program import trace
from gentool_page.seventh import SPECIAL, to_text
from gentool_page.tensors import Tensors, halved

Cli = Callable[..., Result]
Train = Callable[..., Path]

GLYPHS = ("--data", "glyphs:200")
MODELS: dict[str, tuple[object, ...]] = {
    "vae": ("vae", *GLYPHS, "--hidden", 64, "--latent-dim", 2, "--epochs", 1),
    "conditional": ("vae", *GLYPHS, "--net", "conv", "--conditional", "--width", 4, "--steps", 4),
    "dcgan": ("dcgan", *GLYPHS, "--width", 4, "--steps", 4, "--batch-size", 16),
    "wgan": ("wgan", *GLYPHS, "--net", "conv", "--width", 4, "--steps", 4, "--batch-size", 16),
    "ring": ("gan", "--data", "ring:64", "--steps", 4, "--hidden", 16, "--batch-norm"),
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


class Opened:
    """A page from file:// in a browser without a network, once it has checked itself."""

    def __init__(self, browser: Any, file: Path) -> None:
        self.page = browser.new_context(offline=True).new_page()
        self.page.set_default_timeout(60_000)
        self.console: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.console.append(message.text))
        self.page.on("pageerror", lambda error: self.console.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(file.resolve().as_uri())
        self.page.wait_for_selector("#check[data-right], #trouble:visible")

    def check(self) -> None:
        """Nothing went wrong, and nobody was asked for anything."""
        assert self.console == []
        assert not self.page.is_visible("#trouble"), self.page.inner_text("#trouble")
        assert [u for u in self.asked[1:] if not u.startswith(("blob:", "data:"))] == []

    def array(self, expression: str, *arguments: object) -> np.ndarray:
        """Float32 numbers that an expression in the page gives, to the bit."""
        found = self.page.evaluate(
            f"(a) => Array.from(new Uint32Array(({expression}).slice().buffer))", list(arguments)
        )
        return np.array(found, dtype=np.uint32).view(np.float32)


def contents(file: Path) -> dict[str, Any]:
    """The JSON inside a page, read independently of the page's own script."""
    text = re.search(r'id="model" data-size="(\d+)">([^<]*)<', file.read_text("utf-8"))
    assert text is not None
    sevens = []
    for code in map(ord, text[2]):
        high, low = divmod(code - 0x80, 128)
        sevens += [code] if code < 128 else [ord(SPECIAL[high]), low]
    bits = np.unpackbits(np.array(sevens, np.uint8)[:, None], axis=1)[:, 1:]
    data = zlib.decompress(np.packbits(bits.ravel()).tobytes()[: int(text[1])])
    (length,) = struct.unpack_from("<I", data)
    found: dict[str, Any] = json.loads(data[4 : 4 + length])
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_the_page_draws_what_gentool_draws(
    name: str, browser: Any, trained: Train, cli: Cli
) -> None:
    trained("run", *MODELS[name])
    done = cli("export", "run", "page.html", "--licence", "CC0 <b>")
    assert done.code == 0 and done.out == "page.html\n" and "half-precision" in done.err
    opened = Opened(browser, Path("page.html"))
    assert opened.page.get_attribute("#check", "data-right") == "true"
    made = opened.page.inner_text("#made")
    assert "CC0 <b>" in made and "training seed 0" in made and MODELS[name][0] in made

    loaded = gentool.load("run")
    model = loaded.model
    for seed, row in ((0, 0), (1, 3), (2**32 + 5, 0), (2**40, 2**33)):
        z = model.prior(1, sampling_noise(seed, row_offset=row))
        found = opened.array("gentoolPage.latent(a[0], a[1])", seed, row)
        assert (found == z.flatten().numpy()).all(), "not the draws of gentool sample, to the bit"
    expected = loaded.sample(12, seed=7).numpy()
    size = 1.0 if expected.ndim == 4 else np.abs(expected).max()
    for i, x in enumerate(expected):
        found = opened.array(
            "gentoolPage.sample(gentoolPage.latent(a[0], a[1]), gentoolPage.inTurn(a[1]))", 7, i
        )
        assert np.abs(found - x.ravel()).max() <= size * 2 / 255
    assert expected.std() > 0

    tabs = opened.page.locator("#tabs button").all()
    assert len(tabs) >= 2
    for tab in tabs:
        tab.click()
        if tab.get_attribute("id") == "tab-reconstruct":  # nothing is shown before it is drawn
            opened.page.click("#reconstruct-pad")
        opened.page.wait_for_selector("#command:not(:empty)")
        assert opened.page.inner_text("#command").startswith("gentool ")
        opened.check()


def strokes(shape: tuple[int, int, int]) -> str:
    """An image with some ink, in base64 as the page sends it."""
    image = np.zeros((shape[1], shape[2], shape[0]), np.uint8)
    image[5:20, 10:13] = 200
    image[17:20, 10:24] = 255
    return base64.b64encode(image.tobytes()).decode()


def questions(subject: Subject) -> list[tuple[str, str, dict[str, Any]]]:
    """What the tabs may ask, a class wherever one can be chosen."""
    model = subject.model.model
    size = int(np.prod(model.latent_shape))
    z = [[float(x) for x in model.prior(1, sampling_noise(s)).flatten()] for s in range(4)]
    told = {"label": 3} if model.classes else {}
    corner = {"corners": z, "side": 3, **told}
    points = [{"seed": 5}, {"z": z[1]}, {"seed": 2**33}]
    view = {"left": -1.5, "right": 2.0, "bottom": -1.0, "top": 1.0, "side": 3, **told}
    lines = subject.model.header.data.kind == "points"
    found: list[tuple[str, str, dict[str, Any]]] = [
        ("plane", "at", {"plane": "seeds", "x": -2, "y": 1, **told}),
        ("plane", "at", {"plane": "seeds", "x": 0.3, "y": -2.6, **told}),
        ("plane", "at", {"plane": "points", "points": points, "x": 0.4, "y": -0.3, **told}),
        ("plane", "tiles", {"plane": "seeds", **view}),
        ("samples", "grid", {"n": 15, "seed": 3}),
    ]
    if size == 2:
        found.append(("plane", "at", {"plane": "latent", "x": 0.7, "y": -1.1, **told}))
        found.append(("plane", "scatter", {"plane": "latent"}))
    else:
        found.append(("plane", "at", {"plane": "principal", "x": 1.5, "y": -0.5, **told}))
        found.append(("plane", "tiles", {"plane": "principal", **view}))
    if lines:
        return [one for one in found if one[0] != "samples"]  # its picture is another's
    names = [*sliders.every_direction(subject)][:3]
    strengths = {name: 1.5 - i for i, name in enumerate(names)}
    drawn = strokes(subject.model.header.data.shape)  # type: ignore[arg-type]
    found += [
        ("sliders", "groups", {}),
        ("sliders", "locate", {"point": {"seed": 12}}),
        ("sliders", "at", {"z": z[0], "strengths": strengths, **told}),
        ("mix", "at", {**corner, "x": 0.25, "y": 0.8}),
        ("mix", "at", {"corners": z[:2], "x": 0.5, "y": 0.0, **told}),
        ("mix", "tiles", corner),
        ("mix", "film", {"corners": z[:3], "steps": 3, **told}),
    ]
    if "encode" in subject.facts()["capabilities"]:
        found.append(("reconstruct", "show", {"point": {"pixels": drawn}}))
        found.append(("reconstruct", "show", {"point": {"pixels": drawn, **told}}))
        found.append(("mix", "locate", {"point": {"pixels": drawn, **told}}))
    return found


ASK = """
async ([tab, verb, question]) => {
  const answer = await gentoolBackend.call(tab, verb, question);
  return { ...answer, parts: answer.parts.map((p) => ({ ...p, data: Array.from(p.data) })) };
}
"""
UNKNOWN = {"log_likelihood", "recon", "negative_elbo"}
"""Facts that take draws, which the page leaves out."""


def assert_alike(found: Any, expected: Any) -> None:
    """JSON with numbers to half precision."""
    if isinstance(expected, dict):
        for key in expected.keys() - UNKNOWN:
            assert_alike(found[key], expected[key])
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_alike(one, other)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=5e-3, abs=5e-3)
    elif isinstance(expected, str) and "z:" in expected:  # of an encoding, to half precision
        assert found.partition("z:")[0] == expected.partition("z:")[0]
    else:
        assert found == expected


def assert_same_part(found: dict[str, Any], expected: Any, size: float) -> None:
    if isinstance(expected, File):
        assert (found["type"], found["name"]) == (expected.type, expected.name)
        with (
            Image.open(io.BytesIO(bytes(found["data"]))) as ours,
            Image.open(io.BytesIO(expected.data)) as theirs,
        ):
            assert getattr(ours, "n_frames", 1) == getattr(theirs, "n_frames", 1)
            if expected.type == "image/png":
                apart = np.asarray(ours.convert("RGB")).astype(int) - np.asarray(
                    theirs.convert("RGB")
                )
                assert np.abs(apart).max() <= 2
        return
    wanted = expected.transpose(1, 2, 0) if expected.dtype == np.uint8 else expected
    assert tuple(found["shape"]) == wanted.shape
    apart = np.array(found["data"], np.float64) - wanted.ravel()
    assert np.abs(apart).max(initial=0) <= (2 if expected.dtype == np.uint8 else 0.01 * size)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vae", "conditional", "dcgan", "ring"])
def test_the_page_answers_as_the_server_does(
    name: str, browser: Any, trained: Train, cli: Cli
) -> None:
    """Every question of every tab, asked of both backends."""
    trained("run", *MODELS[name])
    assert cli("export", "run", "page.html").code == 0
    opened = Opened(browser, Path("page.html"))
    subject = open_one("run")
    functions = {(t.name, n): f for t in TABS for n, f in {**t.short, **t.long}.items()}
    for tab, verb, question in questions(subject):
        expected = functions[tab, verb](subject, Ask(question))
        assert isinstance(expected, Answer)
        found = opened.page.evaluate(ASK, [tab, verb, question])
        assert_alike(found["facts"], json.loads(json.dumps(finite(expected.facts))))
        assert (
            found["command"].split(" z:")[0].split(" 'z:")[0]
            == (expected.command.split(" z:")[0].split(" 'z:")[0])
        )
        assert len(found["parts"]) == len(expected.parts)
        for ours, theirs in zip(found["parts"], expected.parts, strict=True):
            assert_same_part(ours, theirs, 4.0)
    opened.check()


@pytest.mark.slow
def test_a_page_that_is_off_says_so(
    browser: Any, trained: Train, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained("run", *MODELS["vae"])
    monkeypatch.setattr(tensors, "TOP", -20)  # all weights become subnormal: few digits are left
    assert cli("export", "run", "page.html").code == 0
    opened = Opened(browser, Path("page.html"))
    assert opened.page.get_attribute("#check", "data-right") == "false"
    assert "Do not trust this page" in opened.page.inner_text("#check")
    monkeypatch.undo()


class Everything(nn.Module):
    """One of each kind of step, after one another."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 6)
        self.first = nn.Linear(9, 8 * 3 * 4)
        self.layers = nn.Sequential(
            nn.GroupNorm(2, 8),
            nn.SiLU(),
            nn.ConvTranspose2d(8, 6, 3, stride=2, padding=1, output_padding=(1, 0), groups=2),
            nn.BatchNorm2d(6),
            nn.LeakyReLU(0.1),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(6, 8, (3, 2), stride=(2, 1), padding=(2, 0), dilation=(1, 2), groups=2),
            nn.ELU(),
            nn.PixelShuffle(2),
            nn.GELU(),
            nn.ZeroPad2d((1, 2, 0, 1)),
            nn.Conv2d(2, 7, 3, bias=False),
            nn.BatchNorm2d(7),
            nn.Softplus(),
        )
        self.norm = nn.LayerNorm(7)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None and module.running_var is not None
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
                nn.init.normal_(module.weight)
                nn.init.normal_(module.bias)

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        h = self.first(torch.cat([z, self.embedding(label)], 1)).view(1, 8, 3, 4)
        h = self.layers(h)
        h = self.norm(h.flatten(2).transpose(1, 2))
        attention = torch.softmax(h @ h.transpose(1, 2) / 7**0.5, 2)
        h = attention @ h + h.mean(1, keepdim=True) - h.amax((1, 2), keepdim=True).tanh()
        one_hot = F.one_hot(h.argmax(2), 7).to(h.dtype)
        h = torch.where(one_hot > 0.5, h.clamp(-1, 0.7), h.flip(1)[:, ::1, :] ** 2)
        return torch.cat([h[:, 1::3], one_hot[:, :4] * 2 - 1], 1).roll(1, 2)


def run_in(browser: Any, content: dict[str, Any], held: Tensors, inputs: list[Tensor]) -> Any:
    """A program's output in the page's interpreter: float32."""
    data = base64.b64encode(zlib.decompress(container(content, held))).decode()
    page = browser.new_context(offline=True).new_page()
    script = (
        bundle("kernel.js").replace('"use strict";\n', "")
        + bundle("model.js")
        + """
        const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
        const model = new module_model.PageModel(module_model.readContainer(bytes),
          module_kernel.kernelOf());
        const program = model.programs.it;
        for (let again = 0; again < 2; again += 1) {
          inputs.forEach((values, i) => program.inputs[i].data.set(values));
          program.run();
        }
        return Array.from(program.output.data);
        """
    )
    found = page.evaluate(
        f"([data, inputs]) => {{ {script} }}", [data, [x.flatten().tolist() for x in inputs]]
    )
    page.close()
    return np.array(found, np.float32)


@pytest.mark.slow
def test_every_kind_of_step_is_torchs(browser: Any) -> None:
    torch.manual_seed(0)
    network, held = Everything().eval(), Tensors(half=False)
    for label in (0, 3):
        inputs = (torch.randn(1, 3), torch.tensor([label]))
        program = trace(network, inputs, "network")
        content = {"programs": {"it": program.to_json(held)}}
        found = run_in(browser, content, held, list(inputs))
        with torch.no_grad():
            expected = network(*inputs).flatten().numpy()
        assert found.shape == expected.shape and expected.std() > 0.1
        assert np.abs(found - expected).max() <= 2e-4 * np.abs(expected).max()


class Sorted(nn.Module):
    def forward(self, z: Tensor) -> Tensor:
        return z.sort(1).values


class Drawn(nn.Module):
    def forward(self, z: Tensor) -> Tensor:
        return z + torch.randn(3)


@pytest.mark.parametrize(("network", "name"), [(Sorted(), "aten.sort"), (Drawn(), "randn")])
def test_an_operation_that_is_lacking_is_named(network: nn.Module, name: str) -> None:
    with pytest.raises(UserError, match=name) as refused:
        trace(network, (torch.zeros(1, 3),), "sampler")
    assert str(refused.value).count("\n") == 0


def test_half_precision_keeps_eleven_bits_of_every_weight() -> None:
    for scale in (1e-9, 1.0, 1e6):  # float16 itself holds neither the first nor the last
        x = torch.randn(5000, generator=torch.Generator().manual_seed(1)) * scale
        near = x.abs() > 2**-12 * x.abs().max()
        error = (halved(x) - x).abs()
        assert (error[near] <= 2**-11 * x.abs()[near]).all() and error.max() > 0
    few = torch.randn(tensors.SHORT)
    assert halved(few) is few


@pytest.mark.parametrize("n", [1, 6, 7, 8, 1000])
def test_text_is_the_bytes_and_survives_html(n: int) -> None:
    data = np.random.default_rng(n).integers(0, 256, n, np.uint8).tobytes()
    text = to_text(data)
    assert not set(text) & set(SPECIAL)
    assert len(text.encode()) <= n * 8 / 7 + 3
    bits = ""
    for code in map(ord, text):
        high, low = divmod(code - 0x80, 128)
        bits += f"{code:07b}" if code < 128 else f"{ord(SPECIAL[high]):07b}{low:07b}"
    assert int(bits[: 8 * n], 2).to_bytes(n, "big") == data


def test_what_is_in_the_file(trained: Train, cli: Cli) -> None:
    """One file that names its model, asks nobody, and holds what --fp32 asks for."""
    trained("run", *MODELS["vae"])
    assert cli("export", "run", "page.html", "--fp32").code == 0
    text = Path("page.html").read_text("utf-8")
    assert not re.search(r"https?://|\bimport\s*[({]|\bfetch\(", text)
    assert "default-src 'none'" in text and "<title>vae on glyphs:200</title>" in text
    found = contents(Path("page.html"))
    assert {t["type"] for t in found["tensors"]} == {"f32"}
    assert found["run"]["made"]["licence"] == "not stated"
    assert {"sampler", "encoder", "moments", "prior"} == set(found["programs"])
    assert str(Path.cwd()) not in json.dumps(found), "a path of this machine"
    assert cli("export", "run", "page.html").code == 2  # it is there already
