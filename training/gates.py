"""The verdict: whether a model may be promoted, with one sentence per gate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from features.propensity import Gates
from training.evaluation import Evaluation, Figure
from training.slices import Slice, collapsed


@dataclass(frozen=True)
class Gate:
    """One gate, whether it was passed, and why in a sentence."""

    gate: str
    passed: bool
    sentence: str


@dataclass(frozen=True)
class Verdict:
    """Every gate, in the order of the propensity file."""

    gates: tuple[Gate, ...]

    @property
    def passed(self) -> bool:
        return all(gate.passed for gate in self.gates)

    @property
    def word(self) -> str:
        """`pass` or `fail`."""
        return "pass" if self.passed else "fail"


@dataclass(frozen=True)
class Rival:
    """The champion on the same test rows: its version and the AUC of the new model minus its own.

    `difference` is None where the two cannot be compared, and `obstacle` says why.
    """

    version: str
    difference: Figure | None
    obstacle: str = ""


def judge(
    gates: Gates, test: Evaluation, rival: Rival | None, over_rule: Figure | None = None, slices: Sequence[Slice] = ()
) -> Verdict:
    """Hold the figures of the test rows against the gates of the propensity.

    Args:
        gates: the floors.
        test: figures of rows that nothing was fitted or calibrated on.
        rival: the champion on the same rows; None if there is no champion.
        over_rule: the AUC less that of the best simple rule on the same rows; None where the model is that rule.
        slices: parts of the test rows.
    """
    return Verdict(
        (
            _positives(gates, test),
            _auc(gates, test),
            _lift(gates, test),
            _calibration(gates, test),
            *([_slices(slices)] if gates.no_slice_collapsed else []),
            *([_rule(over_rule)] if gates.better_than_rule else []),
            *([_champion(rival)] if gates.not_worse_than_champion else []),
        )
    )


def _positives(gates: Gates, test: Evaluation) -> Gate:
    passed = test.positives >= gates.min_positives
    words = "at least" if passed else "fewer than"
    sentence = f"The test holds {test.positives:,} positives, {words} the {gates.min_positives:,} asked for."
    return Gate("min_positives", passed, sentence)


def _auc(gates: Gates, test: Evaluation) -> Gate:
    auc = test["auc"]
    passed = auc.value >= gates.min_auc
    words = "reaches" if passed else "misses"
    return Gate("min_auc", passed, f"AUC {auc.value:.3f} ({auc.low:.3f} to {auc.high:.3f}) {words} {gates.min_auc:.3f}.")


def _lift(gates: Gates, test: Evaluation) -> Gate:
    lift = test["lift_at_10pct"].value
    passed = lift >= gates.lift_at_10pct
    words = "reaches" if passed else "misses"
    sentence = f"The best tenth holds {lift:.2f} times its share of the positives, {words} {gates.lift_at_10pct:.2f}."
    return Gate("lift_at_10pct", passed, sentence)


def _calibration(gates: Gates, test: Evaluation) -> Gate:
    """Chance alone makes a calibration error on few rows, and only what is beyond it is held against the model."""
    error, chance = test["calibration_error"].value, test.chance_calibration_error
    passed = max(error - chance, 0.0) <= gates.max_calibration_error
    words = "is within" if passed else "exceeds"
    share = f"of which chance alone makes {chance:.3f} (± {test.chance_calibration_sd:.3f}) on so many rows"
    sentence = f"Calibration error {error:.3f}, {share}, {words} {gates.max_calibration_error:.3f}."
    return Gate("max_calibration_error", passed, sentence)


def _slices(slices: Sequence[Slice]) -> Gate:
    """A model may be weaker here and there; it may not mislead whoever works one part of the list."""
    bad = collapsed(slices)
    if not bad:
        told = (
            f"The model collapses in none of {len(slices)} slices."
            if slices
            else "No attribute has slices large enough to judge."
        )
        return Gate("no_slice_collapsed", True, told)
    named = "; ".join(f"{part.attribute} = {part.value}: {part.why}" for part in bad)
    return Gate("no_slice_collapsed", False, f"The model collapses in {len(bad)} of {len(slices)} slices: {named}.")


def _rule(over_rule: Figure | None) -> Gate:
    """A model that a rule of thumb beats has no business here; one that chance keeps from being better has."""
    if over_rule is None:
        return Gate("better_than_rule", True, "The model is the best simple rule: nothing cleverer was separable from it.")
    passed = over_rule.high >= 0
    words = "better than" if over_rule.low > 0 else "not separable from" if passed else "worse than"
    interval = f"{over_rule.low:+.3f} to {over_rule.high:+.3f}"
    return Gate(
        "better_than_rule",
        passed,
        f"On the same rows {words} the best simple rule: AUC {over_rule.value:+.3f} ({interval}).",
    )


def _champion(rival: Rival | None) -> Gate:
    """Refused only where the new model is worse beyond the noise: the whole interval of the difference is below 0."""
    if rival is None:
        return Gate("not_worse_than_champion", True, "There is no champion yet.")
    if rival.difference is None:
        return Gate("not_worse_than_champion", True, f"Not compared with champion version {rival.version}: {rival.obstacle}.")
    difference = rival.difference
    passed = difference.high >= 0
    words = "not worse" if passed else "worse"
    return Gate(
        "not_worse_than_champion",
        passed,
        f"On the same rows {words} than champion version {rival.version}: AUC {difference.value:+.3f} "
        f"({difference.low:+.3f} to {difference.high:+.3f}).",
    )
