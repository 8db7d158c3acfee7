"""Every number that judges a model, beside code from elsewhere on the same inputs.

scikit-learn, scipy, prdc and POT come with ``pip install gentool[crosscheck]``. Each tolerance is
what was found, rounded up: most numbers agree to rounding. Trainings and the gradient penalty are
held to numpy in `test_training_by_hand.py`.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from gentool.data import DataOptions, load
from gentool.metrics import knn, modes, ndb, ssim, swd
from gentool.metrics.frechet import frechet
from gentool.metrics.memorisation import compare, share_below, to_nearest
from gentool.metrics.mmd import mmd
from gentool.metrics.prdc import prdc
from gentool.metrics.two_sample import nearest_neighbour
from gentool_vae.likelihoods import Bernoulli, ContinuousBernoulli, gaussian

if TYPE_CHECKING:
    from scipy import linalg, ndimage, spatial, stats
    from sklearn import decomposition, metrics, neighbors

pytestmark = [pytest.mark.crosscheck, pytest.mark.slow]
OTHERS = {
    "scipy": ("linalg", "ndimage", "spatial", "stats"),
    "sklearn": ("decomposition", "metrics", "neighbors"),
}

Array = np.ndarray


@pytest.fixture(scope="module", autouse=True)
def others() -> None:
    """The names above, imported before the first test: to collect the tests takes no seconds."""
    for package, modules in OTHERS.items():
        for name in modules:
            why = f"{package} is not installed (gentool[crosscheck])"
            globals()[name] = pytest.importorskip(f"{package}.{name}", reason=why)


def cloud(n: int, d: int, seed: int, shift: float = 0.0) -> Array:
    x: Array = np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)
    return x + np.float32(shift)


def both(n: int, d: int, shift: float = 0.3) -> tuple[Array, Array]:
    return cloud(n, d, 0), cloud(n, d, 1, shift)


def tensors(*xs: Array) -> list[torch.Tensor]:
    return [torch.from_numpy(x) for x in xs]


@pytest.mark.parametrize("name", ["ring", "grid", "gauss1d", "swissroll"])
def test_neighbours_of_points(name: str, tmp_path: Path) -> None:
    """For every test point, in float64; copies of training points are found at distance 0."""
    dataset = load(DataOptions(data=f"{name}:20000", cache=str(tmp_path)))
    train, test = dataset.train.x.copy(), dataset.test.x.copy()
    search = neighbors.NearestNeighbors(n_neighbors=5).fit(train.astype(np.float64))
    expected = search.kneighbors(test.astype(np.float64))[0]
    distances, _ = knn.nearest(*tensors(test, train), 5)
    np.testing.assert_allclose(distances.numpy(), expected, rtol=1e-15, atol=1e-300)

    copies = to_nearest(*tensors(train[:1000], train))
    held_out = to_nearest(*tensors(test, train))
    assert copies.max() == 0
    tied = (held_out == 0).double().mean().item()  # test points that are copies themselves
    assert compare(copies, held_out)["closer"] == pytest.approx(1 - tied / 2, abs=1e-12)
    assert tied == 0 or name == "gauss1d"


@pytest.mark.parametrize(("n", "d"), [(3000, 64), (800, 784)])
def test_neighbours_in_many_dimensions(n: int, d: int) -> None:
    real, fake = both(n, d)
    brute = neighbors.NearestNeighbors(n_neighbors=5, algorithm="kd_tree").fit(real.astype(float))
    expected, order = brute.kneighbors(fake.astype(float))
    distances, indices = knn.nearest(*tensors(fake, real), 5)
    np.testing.assert_allclose(distances.numpy(), expected, rtol=1e-14)
    assert np.array_equal(indices.numpy(), order)


@pytest.mark.parametrize(("n", "d"), [(700, 2), (700, 64), (300, 784)])
def test_precision_recall_density_coverage(
    n: int, d: int, capsys: pytest.CaptureFixture[str]
) -> None:
    package = pytest.importorskip("prdc", reason="prdc is not installed")
    real, fake = both(n, d, 0.1)
    expected = package.compute_prdc(real.astype(float), fake.astype(float), nearest_k=5)
    assert prdc(*tensors(real, fake), 5) == pytest.approx(expected, abs=1e-12)


def test_frechet_distance() -> None:
    """By scipy's square root of a matrix product, as FID's code does it."""
    real, fake = both(500, 20)
    means = [x.astype(float).mean(0) for x in (real, fake)]
    covariances = [np.cov(x.astype(float), rowvar=False) for x in (real, fake)]
    root = linalg.sqrtm(covariances[0] @ covariances[1]).real
    expected = ((means[0] - means[1]) ** 2).sum() + np.trace(sum(covariances) - 2 * root)
    assert frechet(*tensors(real, fake))["frechet"] == pytest.approx(expected, rel=1e-10)


def test_frechet_distance_of_few_examples() -> None:
    """Fewer examples than dimensions: singular covariances."""
    real, fake = both(12, 30)
    covariances = [np.cov(x.astype(float), rowvar=False) for x in (real, fake)]
    values = np.linalg.eigvals(covariances[0] @ covariances[1]).real.clip(0)
    shift = ((real.astype(float).mean(0) - fake.astype(float).mean(0)) ** 2).sum()
    expected = shift + np.trace(sum(covariances)) - 2 * np.sqrt(values).sum()
    assert frechet(*tensors(real, fake))["frechet"] == pytest.approx(expected, rel=1e-6)


def test_kernel_distance() -> None:
    real, fake = both(400, 16)
    kernel = [
        metrics.pairwise.polynomial_kernel(a.astype(float), b.astype(float), degree=3, coef0=1)
        for a, b in ((real, real), (fake, fake), (real, fake))
    ]
    n = len(real)
    within = sum((k.sum() - np.trace(k)) / (n * (n - 1)) for k in kernel[:2])
    assert mmd(*tensors(real, fake)) == pytest.approx(within - 2 * kernel[2].mean(), rel=1e-10)


def test_sliced_wasserstein() -> None:
    """On a line against scipy; in five dimensions against POT, with its own directions."""
    real, fake = both(500, 1)
    expected = stats.wasserstein_distance(real[:, 0], fake[:, 0])
    assert swd.sliced_wasserstein(*tensors(real, fake)) == pytest.approx(expected, rel=1e-6)
    ot = pytest.importorskip("ot", reason="POT is not installed")
    real, fake = both(500, 5)
    directions = np.random.default_rng(3).normal(size=(5, 4000))
    directions /= np.linalg.norm(directions, axis=0)
    expected = ot.sliced_wasserstein_distance(
        real.astype(float), fake.astype(float), projections=directions, p=1
    )
    assert swd.sliced_wasserstein(*tensors(real, fake), 4000) == pytest.approx(expected, rel=0.02)


def test_two_sample_accuracy() -> None:
    real, fake = both(300, 3)
    x, y = np.concatenate([real, fake]).astype(float), np.repeat([0, 1], 300)
    own = neighbors.NearestNeighbors(n_neighbors=1).fit(x).kneighbors()[1][:, 0]
    right = y[own] == y
    expected = {"1nn": right.mean(), "1nn_real": right[:300].mean(), "1nn_fake": right[300:].mean()}
    assert nearest_neighbour(*tensors(real, fake)) == pytest.approx(expected)


def test_bins() -> None:
    """The same share of bins as 2×2 χ² tests without correction; scipy's Jensen–Shannon."""
    p, q = np.array([120.0, 90, 40, 250]), np.array([150.0, 60, 45, 245])
    z = ndb.two_proportions(*tensors(p, q)).numpy()
    for i in range(4):
        table = [[p[i], p.sum() - p[i]], [q[i], q.sum() - q[i]]]
        assert z[i] ** 2 == pytest.approx(
            stats.chi2_contingency(table, correction=False).statistic, rel=1e-10
        )
    shares = p / p.sum(), q / q.sum()
    expected = spatial.distance.jensenshannon(*shares) ** 2
    assert ndb.jensen_shannon(*tensors(*shares)) == pytest.approx(expected, rel=1e-10)
    assert pytest.approx(stats.norm.ppf(0.975), abs=1e-6) == ndb.SIGNIFICANT


def test_k_means_ends_where_sklearns_does() -> None:
    from sklearn.cluster import KMeans

    x = np.concatenate([cloud(100, 2, i, 20.0 * i) for i in range(4)])
    ours = ndb.k_means(torch.from_numpy(x), 4).numpy()
    theirs = KMeans(4, n_init=1, init=ours, max_iter=50).fit(x).cluster_centers_
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("side", [32, 176])
def test_structural_similarity(side: int) -> None:
    """MS-SSIM over as many scales as fit, by scipy's filters in float64."""
    generator = np.random.default_rng(0)
    a = ndimage.gaussian_filter(generator.uniform(size=(side, side)), 1.0)
    b = a + generator.normal(0, 0.05, (side, side))
    window = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    window /= window.sum()

    def blur(x: Array) -> Array:
        for axis in (0, 1):
            x = ndimage.correlate1d(x, window, axis)
        return x[5:-5, 5:-5]

    count, weights = ssim.scales(side, side), np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])
    powers, x, y, expected = weights[:count] / weights[:count].sum(), a, b, 1.0
    for j in range(count):
        mx, my = blur(x), blur(y)
        vx, vy, cov = blur(x * x) - mx**2, blur(y * y) - my**2, blur(x * y) - mx * my
        part = (2 * cov + 0.03**2) / (vx + vy + 0.03**2)
        if j == count - 1:
            part = part * (2 * mx * my + 0.01**2) / (mx**2 + my**2 + 0.01**2)
        expected *= part.mean() ** powers[j]
        if j < count - 1:
            x, y = (v.reshape(len(v) // 2, 2, -1, 2).mean((1, 3)) for v in (x, y))
    ours = ssim.ms_ssim(*(torch.from_numpy(v)[None, None] for v in (a, b)))
    assert ours.item() == pytest.approx(expected, rel=1e-10)


def test_memorisation() -> None:
    a, b = cloud(200, 1, 0)[:, 0].round(1), cloud(300, 1, 1)[:, 0].round(1)  # with ties
    u = stats.mannwhitneyu(b, a).statistic  # how often b is above a
    assert share_below(*tensors(a, b)) == pytest.approx(u / (200 * 300), rel=1e-12)


def test_divergence_over_classes() -> None:
    labels, counts = np.array([0, 0, 1, 2, 2, 2]), np.array([50, 30, 20])
    found = modes.count_classes(*tensors(labels, counts))
    shares = np.bincount(labels) / 6
    assert found["class_kl"] == pytest.approx(stats.entropy(shares, counts / 100), rel=1e-12)
    assert found["uniform_kl"] == pytest.approx(stats.entropy(shares, np.full(3, 1 / 3)), rel=1e-12)


def test_likelihoods() -> None:
    """−log p(x|z) and its mean, by scipy's distributions and by quadrature."""
    generator = np.random.default_rng(0)
    params, x = generator.normal(size=(4, 1, 3, 2)), generator.uniform(size=(4, 1, 3, 2))
    p, t = tensors(params, x)
    coin = (x > 0.5).astype(float)
    expected = -stats.bernoulli.logpmf(coin, 1 / (1 + np.exp(-params))).sum((1, 2, 3))
    found = Bernoulli().nll(p, torch.from_numpy(coin))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)

    for sigma, log_sigma in ((0.3, math.log(0.3)), ("per-dim", None)):
        likelihood = gaussian(sigma, (1, 3, 2)).double()
        if log_sigma is None:
            torch.nn.init.uniform_(likelihood.log_sigma, -2, 0)
        scale = np.exp(likelihood.log_sigma.detach().numpy())
        expected = -stats.norm.logpdf(x, params, np.broadcast_to(scale, x.shape)).sum((1, 2, 3))
        np.testing.assert_allclose(likelihood.nll(p, t).detach().numpy(), expected, rtol=1e-12)

    from scipy.integrate import quad

    continuous = ContinuousBernoulli()
    for logit in (-6.0, -0.5, 0.01, 3.0):
        one = torch.tensor([[logit]], dtype=torch.float64)

        def density(value: float, one: torch.Tensor = one) -> float:
            at = torch.tensor([[value]], dtype=torch.float64)
            return math.exp(-continuous.nll(one, at).item())

        assert quad(density, 0, 1)[0] == pytest.approx(1, abs=1e-9)
        mean = quad(lambda v: v * density(v), 0, 1)[0]
        assert continuous.mean(one).item() == pytest.approx(mean, abs=1e-6)


def test_probabilistic_pca(monkeypatch: pytest.MonkeyPatch) -> None:
    """scikit-learn's, which divides by n − 1: noise, score and latents of one fit."""
    example = Path(__file__).resolve().parents[1] / "examples" / "gentool-ppca"
    monkeypatch.syspath_prepend(str(example))
    from gentool_ppca import PPCAConfig
    from gentool_ppca.model import PPCA

    from gentool.spec import DataSpec

    generator = np.random.default_rng(0)
    x = generator.normal(size=(300, 3)) @ generator.normal(size=(3, 8))
    x += 0.1 * generator.normal(size=x.shape)
    theirs = decomposition.PCA(3).fit(x)
    model = PPCA(PPCAConfig(latent_dim=3), DataSpec("points", (8,))).double()
    model.prepare(torch.from_numpy(x))
    variance = math.exp(2 * model.log_sigma.item())
    assert variance == pytest.approx(theirs.noise_variance_ * 299 / 300, rel=1e-6)
    inflated = math.sqrt(300 / 299)  # to their covariance
    with torch.no_grad():
        model.weight *= inflated
        model.log_sigma += math.log(inflated)
    found = model.log_prob(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(found, theirs.score_samples(x), rtol=1e-6)
    for name in [m for m in sys.modules if m.startswith("gentool_ppca")]:
        del sys.modules[name]
