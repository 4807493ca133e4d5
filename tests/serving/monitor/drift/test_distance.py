"""The measures of distance are the formulas, computed otherwise, and chance is what simulation says it is."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import chi2

from serving.monitor.drift.distance import chance, effect, jensen_shannon, noise, psi, shares

RANDOM = np.random.default_rng(3)
PAIRS = [(RANDOM.dirichlet(np.ones(bins)), RANDOM.dirichlet(np.ones(bins))) for bins in (2, 5, 11, 40)]


@pytest.mark.parametrize(("p", "q"), PAIRS)
def test_psi_is_both_relative_entropies_together(p: np.ndarray, q: np.ndarray) -> None:
    by_hand = sum(b * math.log(b / a) for a, b in zip(p, q, strict=True)) + sum(
        a * math.log(a / b) for a, b in zip(p, q, strict=True)
    )
    assert psi(p, q) == pytest.approx(by_hand)
    assert psi(p, q) == pytest.approx(psi(q, p))
    assert psi(p, p) == 0


@pytest.mark.parametrize(
    ("p", "q"), [*PAIRS, (np.array([1.0, 0.0]), np.array([0.0, 1.0])), (np.array([1.0, 0]), np.array([1.0, 0]))]
)
def test_jensen_shannon_is_that_of_scipy(p: np.ndarray, q: np.ndarray) -> None:
    assert jensen_shannon(p, q) == pytest.approx(float(jensenshannon(p, q, base=2)), abs=1e-7)


def test_an_empty_bin_makes_no_distance_infinite() -> None:
    assert shares(np.array([0, 10])).tolist() == [0.5 / 11, 10.5 / 11]
    assert math.isfinite(psi(shares(np.array([0, 100])), shares(np.array([100, 0]))))
    assert shares(np.array([0, 0])).tolist() == [0.5, 0.5]


@pytest.mark.parametrize(("rows", "others"), [(500, 500), (2000, 20_000)])
def test_chance_is_as_large_as_it_is_said_to_be(rows: int, others: int) -> None:
    """Yurdakul's distribution, held against 4,000 pairs of samples of one distribution."""
    random, truth = np.random.default_rng(5), np.full(10, 0.1)
    found = np.array(
        [psi(shares(random.multinomial(others, truth)), shares(random.multinomial(rows, truth))) for _ in range(4000)]
    )
    level = np.array([chance(one, 1 / rows + 1 / others, 10) for one in found])
    assert found.mean() == pytest.approx(9 * (1 / rows + 1 / others), rel=0.05)
    assert (level < 0.05).mean() == pytest.approx(0.05, abs=0.012)


def test_noise_is_that_of_both_samples() -> None:
    assert noise(200, np.array([50.0, 0.0])).tolist() == [0.025, 1.005]


def test_chance_is_the_chi_square_of_one_bin_less() -> None:
    assert chance(0.2, 0.01, 6) == pytest.approx(float(chi2.sf(20, 5)))
    assert chance(0.0, 0.01, 1) == 1.0


def test_the_size_of_an_effect_is_cohens() -> None:
    assert effect(0.5, 0.5) == 0
    assert effect(1.0, 0.0) == pytest.approx(math.pi)
    assert effect(0.1, 0.05) == pytest.approx(0.1924, abs=1e-4)
    assert effect(0.05, 0.1) == pytest.approx(-0.1924, abs=1e-4)
