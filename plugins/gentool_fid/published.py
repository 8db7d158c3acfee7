"""The file of weights that everybody uses, and where it may be had. No torch here."""

from __future__ import annotations

from gentool.data.sources.fetch import Download
from gentool.data.sources.published import Published

FILE = Download(
    "weights-inception-2015-12-05-6726825d.pth",
    95_628_359,
    sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
)
"""As torch-fidelity publishes it: made from the TensorFlow network of 2015."""

INCEPTION = Published(
    "inception",
    ("https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/",),
    (FILE,),
)
