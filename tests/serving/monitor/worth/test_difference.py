"""Intervals hold the truth as often as they say, and say nothing where nothing can be said."""

from __future__ import annotations

import numpy as np
import pytest

from serving.monitor.worth.difference import needed, of_acted, of_means, of_rates, seen

DRAWS = 2_000


def close(share: float, wanted: float) -> bool:
    """Within four standard errors of the draws, and a point: rates are counts, so that no interval is exact."""
    return abs(share - wanted) < 4 * (wanted * (1 - wanted) / DRAWS) ** 0.5 + 0.01


def test_newcombes_example_is_his() -> None:
    """56 of 70 and 48 of 80: 0.0524 to 0.3339, the first row of table II of his article."""
    found = of_rates(56, 70, 48, 80)
    assert (round(found.value, 4), round(found.low, 4), round(found.high, 4)) == (0.2, 0.0524, 0.3339)
    assert of_rates(0, 10, 0, 20).low < 0 < of_rates(0, 10, 0, 20).high


@pytest.mark.parametrize(("one", "two", "many", "few"), [(0.1, 0.1, 5_000, 250), (0.02, 0.05, 3_000, 300), (0.5, 0.4, 400, 40)])
def test_the_difference_of_rates_is_inside_as_often_as_it_says(one: float, two: float, many: int, few: int) -> None:
    random = np.random.default_rng(3)
    drawn = zip(random.binomial(many, one, DRAWS).tolist(), random.binomial(few, two, DRAWS).tolist(), strict=True)
    figures = [of_rates(a, many, b, few) for a, b in drawn]
    assert close(sum(figure.low <= one - two <= figure.high for figure in figures) / DRAWS, 0.95)


def test_the_difference_of_means_is_inside_as_often_as_it_says_though_spreads_differ() -> None:
    random = np.random.default_rng(4)
    figures = [of_means(random.normal(5, 1, 300), random.normal(4, 9, 30)) for _ in range(DRAWS)]
    assert close(sum(figure is not None and figure.low <= 1 <= figure.high for figure in figures) / DRAWS, 0.95)
    assert of_means(np.ones(9), np.ones(9)) is None and of_means(np.ones(1), np.ones(9)) is None


def test_the_effect_on_those_acted_on_is_inside_as_often_as_it_says() -> None:
    """Half of the treated are acted on, a twentieth of the others, and those who are reached differ from those who are not."""
    random, inside = np.random.default_rng(5), 0
    for _ in range(DRAWS):
        groups = []
        for size, reached in ((2_000, 0.5), (400, 0.05)):
            reachable = random.random(size)
            acted = reachable < reached
            outcome = random.random(size) < 0.3 + 0.2 * reachable - 0.1 * acted
            groups.append((outcome.astype(float), acted.astype(float)))
        figure = of_acted(groups[0], groups[1])
        inside += figure is not None and figure.low <= -0.1 <= figure.high
    assert close(inside / DRAWS, 0.95)


def test_without_a_sure_difference_of_acts_or_with_hardly_an_outcome_there_is_no_effect() -> None:
    random = np.random.default_rng(6)
    outcome, acted = (random.random(500) < 0.3).astype(float), (random.random(500) < 0.4).astype(float)
    assert of_acted((outcome, acted), (outcome[:200], acted[:200])) is None
    assert of_acted((np.zeros(500), acted), (outcome, np.zeros(500))) is None


def test_so_many_as_are_needed_show_the_difference_four_times_out_of_five() -> None:
    random, rate, difference, share = np.random.default_rng(7), 0.1, 0.02, 0.1
    size = needed(rate, difference, share)
    assert size is not None
    few = round(share * size)
    many = size - few
    drawn = zip(random.binomial(many, rate + difference, DRAWS).tolist(), random.binomial(few, rate, DRAWS).tolist(), strict=True)
    assert sum(of_rates(a, many, b, few).low > 0 for a, b in drawn) / DRAWS == pytest.approx(0.8, abs=0.04)
    assert seen(rate, many, few) == pytest.approx(difference, rel=0.1)


NOTHING = [(0.1, 0.0, 0.1), (0.0, 0.1, 0.1), (0.9, 0.2, 0.1), (0.1, 0.1, 0.0), (0.1, 0.1, 1.0)]


@pytest.mark.parametrize(("rate", "difference", "share"), NOTHING)
def test_no_number_is_enough_where_there_is_nothing_to_see(rate: float, difference: float, share: float) -> None:
    assert needed(rate, difference, share) is None
