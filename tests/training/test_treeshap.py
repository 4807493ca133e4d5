"""The tables' contributions are LightGBM's `pred_contrib`, and equal rows get equal bits however they are asked for."""

from __future__ import annotations

import builtins
import hashlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Any

import lightgbm
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from training import groups, kernels, treeshap
from training.contract import Floats
from training.predictor import Mean
from training.trees import Trees
from training.treeshap import ROWS_A_THREAD

COLUMNS = 8  # of which the last three are codes, and column 4 never changes
ODD = (np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-36, -1e-36, 1e-30, 1e300, -1.0, -0.5, 2.7, 31.0, 32.0, 64.0, 1e10)


def rows(count: int, seed: int, missing: float = 0.1) -> Floats:
    """Numbers, some of them zero or missing, a constant, and codes: of 4, of 30 and of 70 categories."""
    random = np.random.default_rng(seed)
    matrix = random.normal(size=(count, COLUMNS))
    matrix[:, 1][random.random(count) < 0.3] = 0.0
    matrix[:, 3] = np.round(matrix[:, 3], 1)
    matrix[random.random(matrix.shape) < missing] = np.nan
    matrix[:, 4] = 1.0
    for place, codes in ((5, 4), (6, 30), (7, 70)):
        matrix[:, place] = np.where(random.random(count) < missing, np.nan, random.integers(0, codes, count))
    return matrix


def strange(count: int, seed: int) -> Floats:
    """Rows as no training saw them: unseen, negative and broken codes, infinities, what is almost zero."""
    random, matrix = np.random.default_rng(seed), rows(count, seed, missing=0.3)
    return np.where(random.random(matrix.shape) < 0.3, random.choice(ODD, matrix.shape), matrix)


def booster(
    parameters: Mapping[str, Any] = MappingProxyType({}), rounds: int = 6, seed: int = 0, count: int = 600
) -> lightgbm.Booster:
    matrix = rows(count, seed, missing=float(parameters.get("missing", 0.1)))
    signal = np.nan_to_num(matrix)
    log_odds = (
        signal[:, 0] * signal[:, 1] + signal[:, 2] - signal[:, 3] + signal[:, 5] % 2 + signal[:, 6] % 3 + signal[:, 7] % 5 - 4
    )
    labels = (np.random.default_rng(seed).logistic(size=count) < log_odds).astype(int)
    given = {"objective": "binary", "verbosity": -1, "num_threads": 1, "min_data_in_leaf": 5, "seed": seed, **parameters}
    given.pop("missing", None)
    return lightgbm.train(given, lightgbm.Dataset(matrix, labels, categorical_feature=[5, 6, 7], params=given), rounds)


def tables(trees: Trees) -> Any:
    assert trees._tables is not None, "LightGBM would be compared with itself"
    return trees._tables


def agree(found: lightgbm.Booster, matrix: Floats) -> None:
    trees = Trees(found.model_to_string())
    raw, values = tables(trees)(matrix)
    assert np.array_equal(raw, trees.booster.predict(matrix, raw_score=True, num_threads=1))
    assert np.abs(values - found.predict(matrix, pred_contrib=True)).max() < 1e-6
    assert np.abs(values.sum(axis=1) - trees.raw(matrix)).max() < 1e-6
    assert np.array_equal(trees.explained(matrix).contributions, values)


PARAMETERS = st.fixed_dictionaries(
    {
        "num_leaves": st.integers(2, 40),
        "max_depth": st.sampled_from([2, 4, 6, 9]),
        "use_missing": st.booleans(),
        "zero_as_missing": st.booleans(),
        "extra_trees": st.booleans(),
        "boost_from_average": st.booleans(),
        "max_cat_to_onehot": st.sampled_from([1, 4, 100]),
        "cat_smooth": st.sampled_from([0.1, 10.0]),
        "min_data_per_group": st.sampled_from([1, 50]),
        "feature_fraction": st.sampled_from([0.3, 1.0]),
        "boosting": st.sampled_from(["gbdt", "gbdt", "dart"]),
        "missing": st.sampled_from([0.0, 0.2]),
    }
)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(PARAMETERS, st.integers(0, 10_000))
def test_the_values_are_lightgbms(parameters: dict[str, Any], seed: int) -> None:
    agree(booster(parameters, seed=seed), np.vstack([rows(40, seed + 1), strange(40, seed)]))


@pytest.fixture(scope="module")
def deep() -> tuple[lightgbm.Booster, Floats]:
    """Trees with more features on a way than a line of a table has numbers, and rows."""
    random = np.random.default_rng(3)
    matrix = random.normal(size=(4_000, 14))
    given = {"verbosity": -1, "num_leaves": 60, "min_data_in_leaf": 1, "extra_trees": True, "num_threads": 1}
    return lightgbm.train(given, lightgbm.Dataset(matrix, matrix @ random.normal(size=14)), 3), matrix[:300]


def test_deep_trees_use_long_patterns_and_tables_of_several_lines(deep: tuple[lightgbm.Booster, Floats]) -> None:
    found, matrix = deep
    made = tables(Trees(found.model_to_string()))
    assert made._groups.trees[:, 3].max() == 16 and made._groups.groups[:, 4].max() > groups.LINE
    agree(found, matrix)
    together = made(matrix)
    for one in (0, 7, 8, 299):
        alone = made(matrix[one : one + 1])
        assert np.array_equal(alone.contributions[0], together.contributions[one]) and alone.raw[0] == together.raw[one]


def test_whole_numbers_are_finer_than_what_is_promised() -> None:
    found, matrix = booster({"learning_rate": 0.3}, rounds=40), strange(200, 2)
    values = tables(Trees(found.model_to_string()))(matrix).contributions
    assert 0 < np.abs(values - found.predict(matrix, pred_contrib=True)).max() < 1e-8


def test_a_long_training_on_rare_outcomes_has_tables() -> None:
    """A thousand trees, the first of which begins far from zero, are nothing special."""
    matrix = rows(4_000, 8)
    labels = np.random.default_rng(8).random(4_000) < 1 / (1 + np.exp(4 - np.nan_to_num(matrix[:, 0])))
    parameters = {"objective": "binary", "verbosity": -1, "num_threads": 1, "learning_rate": 0.05, "num_leaves": 31}
    found = lightgbm.train(parameters, lightgbm.Dataset(matrix, labels), 1_000)
    made = tables(Trees(found.model_to_string()))
    assert made._errors(made._unit).max() < 1e-7
    agree(found, strange(30, 8))


def scaled(text: str, by: float) -> str:
    """A model whose leaves have other values."""
    lines = [line for line in text.split("\n") if not line.startswith("tree_sizes=")]
    for place, line in enumerate(lines):
        if line.startswith("leaf_value="):
            told = line.removeprefix("leaf_value=").split()
            lines[place] = "leaf_value=" + " ".join(repr(float(value) * by) for value in told)
    return "\n".join(lines)


@pytest.mark.parametrize("by", [0.0, 1e-310, 1e-200, 1e-12])
def test_leaves_may_be_as_small_as_they_like(trees: Trees, by: float) -> None:
    agree(lightgbm.Booster(model_str=scaled(trees.text, by)), strange(20, 3))


@pytest.mark.parametrize("by", [1e9, 1e150, 1e300, 3e307])
def test_leaves_that_are_too_large_are_left_to_lightgbm(trees: Trees, by: float, caplog: pytest.LogCaptureFixture) -> None:
    found, matrix = Trees(scaled(trees.text, by)), rows(20, 4)
    assert found._tables is None and "too coarse" in caplog.text
    assert np.array_equal(found.explained(matrix).contributions, found.booster.predict(matrix, pred_contrib=True), equal_nan=True)


def test_what_roundings_may_add_up_to_decides(trees: Trees, monkeypatch: pytest.MonkeyPatch) -> None:
    made = tables(Trees(trees.text))
    groups_of = [sum(feature in group for group in _features(made)) for feature in range(COLUMNS)]
    errors = treeshap.DEVIATIONS * made._unit[:-1] * np.sqrt(np.array(groups_of) / 12)
    for limit, is_there in ((errors.max() * 1.001, True), (errors.max() * 0.999, False)):
        monkeypatch.setattr(treeshap, "MOST_ERROR", limit)
        assert (Trees(trees.text)._tables is not None) == is_there


def _features(made: treeshap.TreeShap) -> list[list[int]]:
    """Of each group, without the leaf's column."""
    found = made._groups
    return [found.columns[first : first + width - 1].tolist() for _, first, width, *_ in found.groups.tolist()]


def test_many_groups_take_more_than_one_word() -> None:
    agree(booster({"num_leaves": 200, "min_data_in_leaf": 1}, rounds=3, count=3_000), strange(300, 5))


def test_trees_of_a_single_leaf_add_to_the_base_alone() -> None:
    nothing = lightgbm.train(
        {"objective": "binary", "verbosity": -1}, lightgbm.Dataset(np.ones((50, 2)), np.arange(50) % 3 == 0), 4
    )
    agree(nothing, np.ones((3, 2)))
    agree(booster({"min_gain_to_split": 60.0, "learning_rate": 0.9}, rounds=12), rows(20, 1))


def test_the_mean_of_several_is_the_mean_of_lightgbms() -> None:
    found = [booster({"extra_trees": True}, seed=seed) for seed in range(3)]
    values = Mean([Trees(one.model_to_string()) for one in found]).explained(matrix := strange(50, 1)).contributions
    assert np.abs(values - np.mean([one.predict(matrix, pred_contrib=True) for one in found], axis=0)).max() < 1e-6


@pytest.fixture(scope="module")
def trees() -> Trees:
    return Trees(booster({"num_leaves": 31, "max_depth": 6}, rounds=40).model_to_string())


def test_rows_alone_and_among_many_are_equal_to_the_bit_on_one_thread_and_on_several(
    trees: Trees, monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix = strange(2 * ROWS_A_THREAD + kernels.BLOCK + 3, 7)
    monkeypatch.setattr(treeshap, "processors", lambda: 1)
    alone = trees.explained(matrix).contributions
    for threads in (2, 3, 7):
        monkeypatch.setattr(treeshap, "processors", lambda threads=threads: threads)
        assert np.array_equal(trees.explained(matrix).contributions, alone)
    for count in (1, 2, kernels.ROW_BY_ROW, kernels.ROW_BY_ROW + 1, 33):
        parts = [trees.explained(matrix[begin : begin + count]).contributions for begin in range(0, 99, count)]
        raw = [trees.explained(matrix[begin : begin + count]).raw for begin in range(0, 99, count)]
        assert np.array_equal(np.concatenate(raw)[:99], trees.raw(matrix)[:99])
        assert np.array_equal(np.vstack(parts)[:99], alone[:99])
    assert np.array_equal(trees.explained(np.asfortranarray(matrix)).contributions, alone)


def test_the_vectors_add_what_the_plain_loops_add(
    trees: Trees, deep: tuple[lightgbm.Booster, Floats], monkeypatch: pytest.MonkeyPatch
) -> None:
    several = 2 * groups.LINE + 3
    for made, matrix in (
        (tables(trees), strange(several, 9)),
        (tables(Trees(deep[0].model_to_string())), deep[1][:several]),
    ):
        expected = made(matrix).contributions
        monkeypatch.setattr(made, "_loops", kernels.Kernels(kernels.fill, kernels.rounded, kernels.explain))
        assert np.array_equal(made(matrix).contributions, expected)


def test_what_numba_keeps_does_not_outlive_what_it_was_compiled_with() -> None:
    """It looks at the file of a loop alone, so `training/kernels.py` has to change with what it imports from others."""
    folder = Path(kernels.__file__).parent
    digest = hashlib.sha256(
        b"".join((folder / name).read_bytes() for name in ("forest.py", "groups.py", "lanes.py"))
    ).hexdigest()[:16]
    assert digest == kernels.COMPILED_WITH, f'write COMPILED_WITH = "{digest}" in training/kernels.py'


def test_callers_at_the_same_time_get_the_same_bits(trees: Trees) -> None:
    matrix = strange(2 * ROWS_A_THREAD + 50, 8)
    expected = trees.explained(matrix).contributions
    fresh = Trees(trees.text)  # whose tables are made by whoever comes first
    with ThreadPoolExecutor(8) as pool:
        many = [pool.submit(fresh.explained, matrix) for _ in range(8)]
        single = [pool.submit(fresh.explained, matrix[place : place + 1]) for place in range(200)]
    assert all(np.array_equal(one.result().contributions, expected) for one in many)
    assert np.array_equal(np.concatenate([one.result().raw for one in single]), trees.raw(matrix[:200]))
    assert np.array_equal(np.vstack([one.result().contributions for one in single]), expected[:200])


def test_no_rows_have_no_contributions(trees: Trees) -> None:
    assert trees.explained(np.empty((0, COLUMNS))).contributions.shape == (0, COLUMNS + 1)


def test_a_matrix_of_other_columns_is_refused_as_lightgbm_refuses_it(trees: Trees) -> None:
    with pytest.raises(lightgbm.basic.LightGBMError, match="number of features"):
        trees.explained(np.zeros((2, COLUMNS - 1)))


def _several_classes() -> lightgbm.Booster:
    given = {"objective": "multiclass", "num_class": 3, "verbosity": -1}
    return lightgbm.train(given, lightgbm.Dataset(rows(200, 1), np.arange(200) % 3), 2)


def _forest() -> lightgbm.Booster:
    return booster({"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5})


def _linear() -> lightgbm.Booster:
    matrix = np.random.default_rng(1).normal(size=(300, COLUMNS))
    return lightgbm.train({"linear_tree": True, "verbosity": -1}, lightgbm.Dataset(matrix, matrix[:, 0] ** 2), 2)


@pytest.mark.parametrize("made", [_several_classes, _forest])
def test_what_the_tables_cannot_hold_is_left_to_lightgbm(made: Callable[[], lightgbm.Booster]) -> None:
    found, matrix = made(), rows(20, 4)
    trees = Trees(found.model_to_string())
    assert trees._tables is None
    assert np.array_equal(trees.explained(matrix).contributions, found.predict(matrix, pred_contrib=True))


def test_linear_trees_are_left_to_lightgbm_which_refuses_them() -> None:
    found, matrix = _linear(), np.zeros((1, COLUMNS))
    trees = Trees(found.model_to_string())
    assert trees._tables is None
    try:
        expected = found.predict(matrix, pred_contrib=True)
    except lightgbm.basic.LightGBMError as refused:
        with pytest.raises(lightgbm.basic.LightGBMError, match=str(refused)[:20]):
            trees.explained(matrix)
    else:
        assert np.array_equal(trees.explained(matrix).contributions, expected)


def test_a_node_that_no_row_reached_is_left_to_lightgbm(trees: Trees) -> None:
    lines = trees.text.split("\n")
    place = next(number for number, line in enumerate(lines) if line.startswith("leaf_count="))
    lines[place] = "leaf_count=0 " + lines[place].split(" ", 1)[1]
    assert Trees("\n".join(line for line in lines if not line.startswith("tree_sizes=")))._tables is None


def test_tables_that_would_be_too_large_are_left_to_lightgbm(trees: Trees, monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = rows(20, 4)
    expected = trees.booster.predict(matrix, pred_contrib=True)
    for limit in ("MOST_NUMBERS", "MOST_BITS"):
        with monkeypatch.context() as patch:
            patch.setattr(groups, limit, 5)
            small = Trees(trees.text)
            assert small._tables is None
            assert np.array_equal(small.explained(matrix).contributions, expected)


def test_without_numba_lightgbm_answers(trees: Trees, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *more: Any, **named: Any) -> Any:
        if name.split(".")[0] == "numba":
            raise ImportError(name)
        return real(name, *more, **named)

    kernels._compiled.cache_clear()
    monkeypatch.setattr(builtins, "__import__", without)
    bare, matrix = Trees(trees.text), rows(20, 4)
    assert bare._tables is None
    assert np.array_equal(bare.explained(matrix).contributions, trees.booster.predict(matrix, pred_contrib=True))


def test_where_nothing_can_be_kept_it_compiles_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    import numba

    real, asked = numba.njit, []

    def nowhere(signature: str, cache: bool = False, nogil: bool = False) -> Any:
        asked.append(cache)
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return lambda loop: real(nogil=nogil)(loop)  # not compiled here: that would take seconds

    kernels._compiled.cache_clear()
    monkeypatch.setattr(numba, "njit", nowhere)
    try:
        assert kernels.kernels().fill is not None
        assert asked == [True, False] * len(kernels.Kernels._fields)
    finally:
        kernels._compiled.cache_clear()
