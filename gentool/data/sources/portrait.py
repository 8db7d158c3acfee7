"""Drawing one cartoon face: `Face` says how it looks, `draw` paints it with Pillow.

Coordinates are those of the head: x to the right, y down, the eyes near y = −0.1, the head about
0.5 wide to either side of x = 0. `Pen` turns, scales and shifts them onto the canvas, which is
drawn large and reduced, so that edges are smooth and nothing is rotated as pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

SIDE = 64
_LARGER = 3  # the canvas is drawn so many times larger
_CANVAS = SIDE * _LARGER

Colour = tuple[int, ...]


@dataclass(frozen=True)
class Face:
    """How one face looks: seven answers of yes or no, and what varies besides.

    Numbers without another range run from −1 to 1, with 0 in the middle; colours are RGB.
    """

    smile: bool
    male: bool
    glasses: bool
    beard: bool
    hat: bool
    open_mouth: bool
    blond: bool

    tilt: float
    turn: float
    scale: float
    right: float
    down: float
    width: float
    height: float
    eye_size: float
    eye_distance: float
    gaze: float
    brow_angle: float
    brow_height: float
    nose: float
    mouth_width: float
    mouth_bend: float  # 0 to 1, how far the corners of the mouth go up or down
    mouth_opening: float  # 0 to 1
    volume: float  # of the hair
    parting: float
    style: float  # of hat and glasses
    light_angle: float
    light: float
    brightness: float

    skin: Colour
    hair: Colour
    iris: Colour
    clothes: Colour
    accessory: Colour
    frame: Colour
    sky: Colour
    ground: Colour


class Pen:
    """Draws shapes given in the head's coordinates."""

    def __init__(self, image: Image.Image, face: Face) -> None:
        self.ink = ImageDraw.Draw(image, "RGBA")
        size = (1.10 + 0.05 * face.scale) * _CANVAS / 2
        angle = math.radians(5) * face.tilt
        cos, sin = size * math.cos(angle), size * math.sin(angle)
        self.size = size
        self.matrix = np.array([[cos, sin], [-sin, cos]])
        self.origin = _CANVAS * np.array([0.5 + 0.025 * face.right, 0.52 + 0.02 * face.down])

    def shape(self, x: np.ndarray, y: np.ndarray, fill: Colour) -> None:
        """A filled polygon."""
        corners = np.stack([x, y], 1) @ self.matrix + self.origin
        self.ink.polygon(corners.ravel().tolist(), fill=fill)

    def oval(self, x: float, y: float, rx: float, ry: float, fill: Colour) -> None:
        self.shape(x + rx * _COS, y + ry * _SIN, fill)

    def band(self, x: np.ndarray, y: np.ndarray, thickness: np.ndarray, fill: Colour) -> None:
        """A line whose thickness changes along it, thick downwards and upwards alike."""
        half = thickness / 2
        self.shape(np.concatenate([x, x[::-1]]), np.concatenate([y - half, (y + half)[::-1]]), fill)

    def stroke(self, x: np.ndarray, y: np.ndarray, thickness: float, fill: Colour) -> None:
        corners = np.stack([x, y], 1) @ self.matrix + self.origin
        width = max(1, round(thickness * self.size))
        self.ink.line(corners.ravel().tolist(), fill=fill, width=width, joint="curve")


_ANGLES = np.linspace(0, 2 * math.pi, 28, endpoint=False)
_COS, _SIN = np.cos(_ANGLES), np.sin(_ANGLES)
_T = np.linspace(-1, 1, 13)


def draw(face: Face) -> np.ndarray:
    """The face as uint8 (3, 64, 64)."""
    image = Image.fromarray(_background(face))
    pen = Pen(image, face)
    head = _Head(face)
    _behind(pen, face, head)
    pen.shape(*head.outline, face.skin)
    if face.beard:
        _beard(pen, face, head)
    _eyes(pen, face, head)
    _nose(pen, face, head)
    _mouth(pen, face, head)
    _hair(pen, face, head)
    if face.hat:
        _hat(pen, face, head)
    if face.glasses:
        _glasses(pen, face, head)
    small = np.asarray(image.reduce(_LARGER), np.float32)
    return _lit(small, face).transpose(2, 0, 1)


class _Head:
    """Where things are on this head."""

    def __init__(self, face: Face) -> None:
        self.w = 0.47 + 0.045 * face.width + (0.03 if face.male else 0.0)
        self.h = 0.62 + 0.05 * face.height
        self.shift = 0.06 * face.turn  # features slide to the side where the face looks
        self.eye_x = 0.20 + 0.025 * face.eye_distance
        self.eye_y = -0.10
        self.mouth_y = 0.31
        # A superellipse; the lower half of a man's face is squarer.
        jaw = 0.78 if face.male else 1.08
        power = np.where(_SIN > 0, jaw, 0.95)
        x = self.w * np.sign(_COS) * np.abs(_COS) ** power
        self.outline = (x, self.h * _SIN)


def _background(face: Face) -> np.ndarray:
    fade = np.linspace(0, 1, _CANVAS)[:, None]
    rows = (1 - fade) * np.array(face.sky) + fade * np.array(face.ground)
    return np.ascontiguousarray(np.broadcast_to(rows[:, None], (_CANVAS, _CANVAS, 3)), np.uint8)


def _behind(pen: Pen, face: Face, head: _Head) -> None:
    """Long hair, shoulders, neck and ears."""
    w = head.w
    if not face.male:
        wide = w + 0.13 + 0.05 * face.volume
        x = np.array([-0.9, -1.0, -0.98, -1.08, -1.02, 1.02, 1.08, 0.98, 1.0, 0.9]) * wide
        y = np.array([-0.40, -0.2, 0.2, 0.55, 0.80, 0.80, 0.55, 0.2, -0.2, -0.40])
        pen.shape(x, y, shade(face.hair, 0.8))
    broad = 0.86 if face.male else 0.72
    x = np.array([-broad, -0.55, 0.55, broad])
    pen.shape(x, np.array([1.3, 0.80, 0.80, 1.3]), face.clothes)
    pen.oval(-0.5, 0.98, broad - 0.45, 0.19, face.clothes)
    pen.oval(0.5, 0.98, broad - 0.45, 0.19, face.clothes)
    neck = 0.24 if face.male else 0.18
    pen.shape(
        np.array([-neck, neck, neck, 0.0, -neck]),
        np.array([0.3, 0.3, 0.82, 0.95, 0.82]),
        shade(face.skin, 0.82),
    )
    for side in (-1, 1):
        pen.oval(side * (w - 0.01) - 0.3 * head.shift, 0.02, 0.075, 0.12, shade(face.skin, 0.93))


def _beard(pen: Pen, face: Face, head: _Head) -> None:
    """The lower part of the head in the colour of the hair, with a moustache."""
    x, y = head.outline
    low = y > 0.1
    order = np.argsort(-x[low])
    jaw_x, jaw_y = x[low][order] * 1.03, y[low][order] * 1.06
    top_x = 0.86 * head.w * _T
    top_y = 0.27 - 0.14 * np.abs(_T) ** 3
    pen.shape(np.concatenate([top_x, jaw_x]), np.concatenate([top_y, jaw_y]), face.hair)
    pen.band(head.shift + 0.2 * _T, 0.235 + 0.05 * _T**2, 0.10 * (1.1 - _T**2), face.hair)


def _eyes(pen: Pen, face: Face, head: _Head) -> None:
    big = 1 + 0.18 * face.eye_size + (0.0 if face.male else 0.12)
    rx, ry = 0.092 * big, 0.068 * big
    brow = shade(face.hair, 0.7)
    for side in (-1, 1):
        x = head.shift + side * head.eye_x
        pen.oval(x, head.eye_y, rx, ry, (250, 250, 248))
        looks = x + 0.03 * face.gaze
        pen.oval(looks, head.eye_y, 0.052 * big, 0.056 * big, face.iris)
        pen.oval(looks, head.eye_y, 0.026 * big, 0.028 * big, (15, 12, 12))
        lid = head.eye_y - ry * np.sqrt(1 - 0.98 * _T**2)
        pen.stroke(x + rx * _T, lid, 0.022 if face.male else 0.045, (35, 25, 22))
        if not face.male:  # lashes
            out, up = np.array([0.85, 1.5]) * rx, np.array([-0.4, -1.25]) * ry
            pen.stroke(x + side * out, head.eye_y + up, 0.035, (35, 25, 22))
        thick = 0.075 if face.male else 0.035
        y = head.eye_y - 0.155 - 0.03 * face.brow_height - 0.03 * (1 - _T**2)
        y = y - 0.035 * face.brow_angle * side * _T
        pen.band(x + 0.125 * _T, y, thick * (1.15 - _T**2), brow)


def _nose(pen: Pen, face: Face, head: _Head) -> None:
    long = 0.13 + 0.03 * face.nose
    x = head.shift * 1.5 + np.array([-0.01, -0.06, 0.0, 0.06])
    pen.shape(x, np.array([-0.06, long, long + 0.03, long]), shade(face.skin, 0.84))


def _mouth(pen: Pen, face: Face, head: _Head) -> None:
    """Lips along y = mouth − bend·(t² − ½), open downwards by opening·(1 − t²)."""
    w = 0.22 + 0.02 * face.mouth_width + (0.05 if face.smile else 0.0)
    bend = (0.16 + 0.08 * face.mouth_bend) if face.smile else (-0.02 - 0.12 * face.mouth_bend)
    x, y = head.shift + w * _T, head.mouth_y - bend * (_T**2 - 0.5)
    lips = mixed(face.skin, (186, 84, 80) if face.male else (200, 30, 55), 0.83)
    thick = 0.05 if face.male else 0.07
    if face.smile:  # raised cheeks
        blush = (*mixed(face.skin, (235, 90, 90), 0.6), 170)
        for side in (-1, 1):
            pen.oval(head.shift + side * 0.31, 0.15, 0.085, 0.075, blush)
    if face.open_mouth:
        gap = (0.17 + 0.08 * face.mouth_opening) * (1 - _T**2)
        both_x, both_y = np.concatenate([x, x[::-1]]), np.concatenate([y, (y + gap)[::-1]])
        pen.shape(both_x, both_y, (70, 15, 25))
        pen.band(x * 0.97 + 0.03 * head.shift, y + 0.25 * gap, 0.4 * gap, (245, 240, 230))
        pen.stroke(np.append(both_x, x[0]), np.append(both_y, y[0]), thick * 0.9, lips)
    else:
        pen.band(x, y, thick * (1.35 - _T**2), lips)


def _hair(pen: Pen, face: Face, head: _Head) -> None:
    """What lies over the forehead and beside the face."""
    w, h = head.w, head.h
    over = 1.06 + 0.05 * face.volume
    arc = np.linspace(math.pi, 2 * math.pi, 15)
    top_x, top_y = w * over * np.cos(arc), h * over * np.sin(arc)
    line = -0.30 - 0.04 * face.brow_height if face.male else -0.27
    part = 0.5 * face.parting
    hem_x = 0.92 * w * _T[::-1]
    hem_y = line - 0.13 * np.exp(-(((_T[::-1] - part) / 0.35) ** 2))
    pen.shape(np.concatenate([top_x, hem_x]), np.concatenate([top_y, hem_y]), face.hair)
    for side in (-1, 1):
        if face.male:
            x, y = np.array([1.06, 0.9, 0.93, 1.04]) * w, np.array([-0.35, -0.35, 0.0, 0.0])
        else:
            outer = w + 0.11 + 0.05 * face.volume
            x = np.array([w * 0.80, w * 1.08, outer, outer * 0.98, w * 0.86, w * 0.92])
            y = np.array([-0.42, -0.42, 0.0, 0.72, 0.66, 0.0])
        pen.shape(side * x, y, face.hair)


def _hat(pen: Pen, face: Face, head: _Head) -> None:
    """A beanie, or a hat with a brim."""
    w = head.w * 1.12
    low = -0.36
    if face.style > 0:
        arc = np.linspace(math.pi, 2 * math.pi, 15)
        pen.shape(w * 1.03 * np.cos(arc), low + 0.55 * np.sin(arc), face.accessory)
        x = w * 1.08 * np.array([-1, -1, 1, 1])
        pen.shape(x, low + np.array([-0.06, 0.07, 0.07, -0.06]), shade(face.accessory, 0.75))
    else:
        x = w * np.array([-0.95, -0.85, 0.85, 0.95])
        pen.shape(x, np.array([low, low - 0.48, low - 0.48, low]), face.accessory)
        pen.shape(x, np.array([low, low - 0.11, low - 0.11, low]), shade(face.accessory, 0.6))
        pen.oval(0.0, low + 0.01, 1.55 * w, 0.085, shade(face.accessory, 0.85))


def _glasses(pen: Pen, face: Face, head: _Head) -> None:
    """Two rims, round or square, a bridge and temples; the glass is a little bright."""
    power = 1.0 if face.style > 0.3 else 0.45
    rx, ry = 0.155, 0.135
    x = rx * np.sign(_COS) * np.abs(_COS) ** power
    y = ry * np.sign(_SIN) * np.abs(_SIN) ** power + head.eye_y + 0.01
    for side in (-1, 1):
        centre = head.shift + side * head.eye_x
        pen.shape(centre + x, y, (235, 245, 255, 70))
        pen.stroke(np.append(centre + x, centre + x[0]), np.append(y, y[0]), 0.042, face.frame)
        ends = np.array([centre + side * rx, side * head.w])
        pen.stroke(ends, np.array([-0.11, -0.12]), 0.04, face.frame)
    inner = head.eye_x - rx
    pen.stroke(head.shift + np.array([-inner, inner]), np.array([-0.12, -0.12]), 0.045, face.frame)


def _lit(pixels: np.ndarray, face: Face) -> np.ndarray:
    """Light from one side: (64, 64, 3) times a plane, at most 1 ± 0.35 at the corners."""
    angle = math.pi * face.light_angle
    at = np.linspace(-1, 1, SIDE, dtype=np.float32)
    plane = math.cos(angle) * at[None, :] + math.sin(angle) * at[:, None]
    lit = 0.92 + 0.10 * face.brightness + 0.125 * (1 + face.light) * plane
    return np.clip(np.rint(pixels * lit[..., None]), 0, 255).astype(np.uint8)


def shade(colour: Colour, factor: float) -> Colour:
    """The colour, darker for a factor below 1."""
    return tuple(min(255, round(c * factor)) for c in colour)


def mixed(a: Colour, b: Colour, share: float) -> Colour:
    """The colour between `a` and `b`, `share` of the way."""
    return tuple(round((1 - share) * p + share * q) for p, q in zip(a, b, strict=True))
