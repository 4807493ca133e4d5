"""A comparison: what a challenger said in the shadow, beside what the champion said of the same entities at the same instants.

Pure: it is given what the ledger kept and the two models, and says how far apart they are and what that would change for the CRM.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from serving.ledger import Compared
from serving.score import Grade
from serving.scorer import grade
from training.contract import Floats
from training.model import Model

ENOUGH = 200  # entities; with fewer, a tenth is a handful and chance alone moves the PSI by about 0.1
BINS = 10
CLOSE, FAR = 0.1, 0.25  # PSI: the usual bounds of no and of a large shift
GRADES: tuple[Grade, ...] = ("A", "B", "C", "D")


@dataclass(frozen=True)
class Comparison:
    """Champion and challenger over the last answer about each entity.

    Attributes:
        propensity, champion, challenger: which question, and the versions.
        first, last: when the first and the last of these answers were given.
        answers: how many answers were compared; of several about one entity the last one counts.
        left_out: comparisons between other versions, earlier than these.
        entities: how many entities.
        champion_mean, challenger_mean: the mean probabilities.
        mean_difference: challenger less champion.
        mean_distance, largest_distance: of the differences without their sign.
        rank_correlation: Spearman's; None where one of the two says the same of everybody.
        top_overlap: the share of the champion's best tenth that is in the challenger's best tenth.
        psi: the population stability index of the challenger's probabilities over the champion's deciles.
        grades: how many entities have a grade of the champion's and one of the challenger's: `grades["A"]["B"]`.
        regraded: how many entities would change grade.
        is_enough: whether there are enough entities to tell.
        sentences: the same in words.
    """

    propensity: str
    champion: str
    challenger: str
    first: datetime
    last: datetime
    answers: int
    left_out: int
    entities: int
    champion_mean: float
    challenger_mean: float
    mean_difference: float
    mean_distance: float
    largest_distance: float
    rank_correlation: float | None
    top_overlap: float
    psi: float
    grades: dict[Grade, dict[Grade, int]]
    regraded: int
    is_enough: bool
    sentences: tuple[str, ...]


def newest(rows: Sequence[Compared]) -> list[Compared]:
    """Those between the two versions that were compared last."""
    last = rows[-1]
    return [row for row in rows if (row.champion, row.challenger) == (last.champion, last.challenger)]


def latest(rows: Sequence[Compared]) -> list[Compared]:
    """The last answer about each entity; newcomers without an id are one entity each."""
    return list({(row.entity_id, "" if row.entity_id else str(place)): row for place, row in enumerate(rows)}.values())


def probabilities(rows: Sequence[Compared]) -> tuple[Floats, Floats]:
    """What champion and challenger said, one value a row."""
    said = np.array([(row.champion_probability, row.challenger_probability) for row in rows], dtype=np.float64).reshape(-1, 2)
    return said[:, 0], said[:, 1]


def compare(rows: Sequence[Compared], champion: Model, challenger: Model) -> Comparison:
    """Compare what two versions said.

    Args:
        rows: as the ledger has them, at least one; only those between the newest two versions count.
        champion, challenger: these two versions, for the grades that their answers have.
    """
    mine = newest(rows)
    kept = latest(mine)
    old, new = probabilities(kept)
    grades = _grades(champion, old, challenger, new)
    regraded = sum(number for before, after in grades.items() for name, number in after.items() if name != before)
    correlation, psi, overlap = rank_correlation(old, new), stability(old, new), top_overlap(old, new)
    return Comparison(
        mine[-1].propensity, mine[-1].champion, mine[-1].challenger, mine[0].at, mine[-1].at, len(mine), len(rows) - len(mine),
        len(kept), float(old.mean()), float(new.mean()), float((new - old).mean()), float(np.abs(new - old).mean()),
        float(np.abs(new - old).max()), correlation, overlap, psi, grades, regraded, len(kept) >= ENOUGH,
        _sentences(mine[-1], len(kept), correlation, psi, overlap, regraded),
    )  # fmt: skip


def rank_correlation(old: Floats, new: Floats) -> float | None:
    """Spearman's rank correlation; None where there is nothing to rank."""
    if len(old) < 2 or np.ptp(old) == 0 or np.ptp(new) == 0:
        return None
    from scipy.stats import spearmanr

    return float(spearmanr(old, new).statistic)


def top_overlap(old: Floats, new: Floats) -> float:
    """The share of the best tenth by one that is in the best tenth by the other; of equal ones the earlier come first."""
    size = max(1, round(len(old) / 10))
    best, other = (set(np.argsort(-said, kind="stable")[:size].tolist()) for said in (old, new))
    return len(best & other) / size


def stability(old: Floats, new: Floats) -> float:
    """The population stability index over the deciles of `old` (Siddiqi, Credit Risk Scorecards, 2006).

    Half an entity is added to every bin, so that an empty one does not make it infinite.
    """
    edges = np.quantile(old, np.linspace(0, 1, BINS + 1)[1:-1])
    one, two = (np.bincount(np.searchsorted(edges, said, side="right"), minlength=BINS) + 0.5 for said in (old, new))
    p, q = one / one.sum(), two / two.sum()
    return float(((q - p) * np.log(q / p)).sum())


def _grades(champion: Model, old: Floats, challenger: Model, new: Floats) -> dict[Grade, dict[Grade, int]]:
    """Each by its own model's reference population and floors, as it would be answered."""
    counts = Counter(zip(_graded(champion, old), _graded(challenger, new), strict=True))
    return {before: {after: counts[before, after] for after in GRADES} for before in GRADES}


def _graded(model: Model, said: Floats) -> list[Grade]:
    return [grade(percentile, model.propensity.grades) for percentile in model.percentile(said).tolist()]


def _sentences(
    last: Compared, entities: int, correlation: float | None, psi: float, overlap: float, regraded: int
) -> tuple[str, ...]:
    if entities < ENOUGH:
        few = f"{entities:,} {'entity is' if entities == 1 else 'entities are'} too few to tell"
        return (f"{few} whether version {last.challenger} differs from version {last.champion}; it takes {ENOUGH} at least.",)
    shift = "hardly differ" if psi < CLOSE else "differ a lot" if psi > FAR else "differ noticeably"
    ranked = "cannot be compared in rank" if correlation is None else f"rank with a correlation of {correlation:.3f}"
    return (
        f"The probabilities of version {last.challenger} and version {last.champion} {shift} (PSI {psi:.3f}) and {ranked}.",
        f"{overlap:.0%} of the best tenth stays the same.".replace("%", " %", 1),
        f"{regraded:,} of {entities:,} entities would change grade.",
        "Which of the two is right, only outcomes can tell: `foresell report` shows how each did out of time.",
    )
