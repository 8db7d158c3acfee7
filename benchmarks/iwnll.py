"""−log p(x) with 5,000 latents on 1,000 test images, with the network of the IWAE paper.

    python benchmarks/iwnll.py --data ../shared/data/mnist
    python benchmarks/iwnll.py --model runs/vae-mnist-001 --json out.json

784-200-200-50, tanh, pixels binarised. The time does not depend on what the weights are, so an
untrained model will do.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path

import torch

from gentool import data, load, options, plugins
from gentool.data.options import DataOptions
from gentool.matmul import choose_matmul
from gentool.metrics.likelihood import nll
from gentool.model import Model

PAPER = {"hidden": (200, 200), "activation": "tanh", "latent_dim": 50, "binarize": True}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--model", help="a run or file to take the weights from")
    parser.add_argument("--k", type=int, default=5000)
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    device = torch.device(given.device)
    choose_matmul(device)
    dataset = data.load(DataOptions(data=given.data))
    model: Model
    if given.model:
        model = load(given.model, device).model
    else:
        torch.manual_seed(0)
        spec = plugins.spec_of(plugins.find("vae"))
        built = spec.load_factory()(options.build(spec.config, PAPER), dataset.spec)
        model = built.to(device).eval()
    before = resource.getrusage(resource.RUSAGE_SELF)
    began = time.perf_counter()
    with torch.no_grad():
        found = nll(
            model,
            dataset.test,
            n=given.n,
            k=given.k,
            seed=0,
            device=device,
            progress=lambda what, done, total: None,
        )
    seconds = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_SELF)
    row = {
        **found,
        "k": given.k,
        "n": given.n,
        "threads": torch.get_num_threads(),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(
            after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1
        ),
        "peak_mib": round(after.ru_maxrss / 1024),
    }
    print(json.dumps(row, indent=1))
    if given.json:
        given.json.parent.mkdir(exist_ok=True)
        given.json.write_text(json.dumps(row, indent=1) + "\n")


if __name__ == "__main__":
    main()
