"""FID, KID, Inception score, precision and recall as papers report them. No torch here.

``gentool evaluate RUN --metrics fid,kid-inception,inception-score,prc-inception``, computed by
torch-fidelity on the features of the Inception network that everybody uses.
"""

from __future__ import annotations

from collections.abc import Callable

from gentool.hookspecs import hookimpl
from gentool.spec import DownloadInfo, MetricInfo, Value


@hookimpl
def gentool_downloads(register: Callable[[DownloadInfo], None]) -> None:
    register(
        DownloadInfo(
            "inception",
            "the Inception network of FID and its kin, 96 MB",
            "gentool_fid.published:INCEPTION",
        )
    )


@hookimpl
def gentool_metrics(register: Callable[[MetricInfo], None]) -> None:
    register(
        _metric(
            "fid",
            "Fréchet Inception distance (gentool[fid], and the network's weights)",
            Value("fid", "lower", 0.0),
        )
    )
    register(
        _metric(
            "kid-inception",
            "kernel Inception distance, mean and deviation over subsets (gentool[fid])",
            Value("kid_inception", "lower", 0.0),
            Value("kid_inception_sd", "near"),
        )
    )
    register(
        _metric(
            "inception-score",
            "Inception score, mean and deviation over ten splits (gentool[fid])",
            Value("inception_score", "higher"),
            Value("inception_score_sd", "near"),
        )
    )
    register(
        _metric(
            "prc-inception",
            "precision and recall by 3-NN balls on Inception features (gentool[fid])",
            Value("precision_inception", "higher"),
            Value("recall_inception", "higher"),
        )
    )


def _metric(name: str, help: str, *values: Value) -> MetricInfo:
    return MetricInfo(
        name,
        help,
        f"gentool_fid.scores:{name.replace('-', '_')}",
        "samples",
        frozenset({"images"}),
        values,
        default=False,
        check="gentool_fid.scores:check",
    )
