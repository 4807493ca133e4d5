from __future__ import annotations

import pytest

from features.propensity import Gates
from training.evaluation import Evaluation, Figure
from training.gates import Rival, judge
from training.slices import Slice

GATES = Gates(min_positives=100, min_auc=0.7, lift_at_10pct=2.0, max_calibration_error=0.05)


def evaluation(*, auc: float = 0.8, lift: float = 3.0, error: float = 0.02, chance: float = 0.01, positives: int = 200):
    figures = {"auc": auc, "lift_at_10pct": lift, "calibration_error": error}
    return Evaluation(
        {name: Figure(value, value, value) for name, value in figures.items()}, chance, 2_000, positives, 1_000, 0.002
    )


def failed(test: Evaluation, rival: Rival | None = None, gates: Gates = GATES) -> list[str]:
    return [gate.gate for gate in judge(gates, test, rival).gates if not gate.passed]


def test_a_good_model_passes_every_gate_with_a_sentence_each():
    verdict = judge(GATES, evaluation(), None)
    assert verdict.passed
    assert verdict.word == "pass"
    assert len(verdict.gates) == 7
    assert all(gate.sentence.endswith(".") for gate in verdict.gates)


@pytest.mark.parametrize(
    ("gate", "at_the_edge", "beyond"),
    [
        ("min_positives", {"positives": 100}, {"positives": 99}),
        ("min_auc", {"auc": 0.7}, {"auc": 0.6999}),
        ("lift_at_10pct", {"lift": 2.0}, {"lift": 1.99}),
        ("max_calibration_error", {"error": 0.0599, "chance": 0.01}, {"error": 0.0601, "chance": 0.01}),
    ],
)
def test_each_gate_fails_just_beyond_its_edge(gate, at_the_edge, beyond):
    assert failed(evaluation(**at_the_edge)) == []
    assert failed(evaluation(**beyond)) == [gate]


def test_worse_than_the_champion_beyond_noise_is_refused():
    assert failed(evaluation(), Rival("3", Figure(-0.02, -0.03, -0.01))) == ["not_worse_than_champion"]
    assert failed(evaluation(), Rival("3", Figure(-0.02, -0.05, 0.01))) == []
    assert failed(evaluation(), Rival("3", Figure(0.0, 0.0, 0.0))) == []


def test_the_champion_gate_can_be_switched_off():
    gates = GATES.model_copy(update={"not_worse_than_champion": False})
    assert failed(evaluation(), Rival("3", Figure(-0.02, -0.03, -0.01)), gates) == []


def test_an_incomparable_champion_is_named_with_the_obstacle():
    verdict = judge(GATES, evaluation(), Rival("3", None, "it has learned from these rows"))
    assert verdict.passed
    assert verdict.gates[-1].sentence == "Not compared with champion version 3: it has learned from these rows."


def part(value: str, why: str = "") -> Slice:
    half = Figure(0.5, 0.4, 0.6)
    return Slice("customer_region", value, 300, 90, half, half, 0.3, half, why)


def test_a_collapsed_slice_refuses_a_model_and_is_named():
    parts = (part("north"), part("south", "it predicts 30.0 % here, and 10.0 % happened"))
    (gate,) = (gate for gate in judge(GATES, evaluation(), None, slices=parts).gates if not gate.passed)
    assert gate.gate == "no_slice_collapsed"
    assert gate.sentence == (
        "The model collapses in 1 of 2 slices: customer_region = south: it predicts 30.0 % here, and 10.0 % happened."
    )
    assert judge(GATES.model_copy(update={"no_slice_collapsed": False}), evaluation(), None, slices=parts).passed


def test_slices_without_a_collapse_pass_and_so_does_having_none():
    sentences = {}
    for parts in ((), (part("north"),)):
        gates = judge(GATES, evaluation(), None, slices=parts).gates
        sentences[len(parts)] = next(gate.sentence for gate in gates if gate.gate == "no_slice_collapsed")
    assert sentences == {0: "No attribute has slices large enough to judge.", 1: "The model collapses in none of 1 slices."}
