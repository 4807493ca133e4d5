"""Quality side by side: Foresell's choice and its candidates against plain models, FLAML and AutoGluon, on real data.

Every contender gets the same features, the same rows to fit on and the same test rows: those of Foresell's own split, in time
with a gap of one horizon, or by entity where there is a single date. Nobody is tuned by hand. FLAML searches among LightGBM's
parameters for as long as the budget lasts; AutoGluon fits LightGBM once as it thinks best, and at its best quality bags and
stacks it within the budget.

    .venv/bin/python -m benchmarks.quality --peers PEERS                    everything; PEERS is made where it is missing
    .venv/bin/python -m benchmarks.quality --only bank --only telco         these questions, without FLAML and AutoGluon
    .venv/bin/python -m benchmarks.quality --peers PEERS --budget 30 --json results.json

Figures are of the test rows. Calibration error is the mean gap between predicted and observed in ten equal bins. A difference is
Foresell's choice less the contender, with its 95 % interval by a paired bootstrap that draws entities: in AUC it is better above
0, in log loss and calibration error below.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.comparison import COMPARED, Comparison, Row, compare
from benchmarks.contenders import PACKAGES, PEERS, Peers
from benchmarks.questions import QUESTIONS
from features.console import messages, progress, silence_telemetry
from training.evaluation import Figure

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"


def summary(found: Sequence[Comparison]) -> str:
    """One line a question: Foresell's choice against the best rival in each figure."""
    names = ("question", "base rate", "Foresell's choice", "AUC", "log loss", "calibration error", "predicted / happened")
    lines = [_line(names), "|" + " --- |" * len(names)]
    for one in found:
        cells = [
            one.question if one.quotable else f"{one.question} (shape only: not quality)",
            f"{one.fitted.rate:.3f} to {one.tested.rate:.3f}{', drifts' if one.drifts else ''}",
            one.choice,
            *(_against_best(one, name) for name in COMPARED),
            f"{one.ours.predicted:.3f} / {one.tested.rate:.3f}",
        ]
        lines.append(_line(cells))
    return "\n".join(lines)


def _against_best(one: Comparison, name: str) -> str:
    """Foresell's choice, the best rival, and whether they can be told apart."""
    more = name == "auc"
    best = (max if more else min)(one.rivals, key=lambda row: getattr(row, name))
    difference = best.differences[name]
    better, worse = (difference.low > 0, difference.high < 0) if more else (difference.high < 0, difference.low > 0)
    word = "better" if better else "**worse**" if worse else "equal"
    return f"{getattr(one.ours, name):.3f}; {word}: {_figure(difference)} to {best.contender}"


def section(one: Comparison) -> str:
    """What was asked, how the rows were divided, what was chosen and why, and every contender."""
    title = one.question if one.quotable else f"{one.question}: of the right shape, never to be quoted as quality"
    parts = (("fitted", one.fitted), ("calibrated on", one.calibration), ("tested", one.tested))
    rows = "; ".join(f"{word} {part.rows:,} rows, {part.rate:.1%} positive" for word, part in parts)
    lost = [f"Could not be run: {name}: {error}" for name, error in one.failures.items()]
    words = [*one.sentences, f"Rows: {rows}.", f"Choice: {one.choice}.", *one.reasons, *lost]
    less = "choice less it"
    names = ("contender", "AUC", less, "log loss", less, "calibration error", less, "predicted / happened", "seconds")
    head = [_line(names), "|" + " --- |" * len(names)]
    told = [f"* {sentence}" for sentence in words]
    return "\n".join([f"### {title}", "", *told, "", *head, *(_contender(row, one.tested.rate) for row in one.table), ""])


def _contender(row: Row, rate: float) -> str:
    figures = [text for name in COMPARED for text in (f"{getattr(row, name):.3f}", _figure(row.differences[name]))]
    seconds = "" if row.seconds is None else f"{row.seconds:.1f}"
    return _line([row.contender, *figures, f"{row.predicted:.3f} / {rate:.3f}", seconds])


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _figure(figure: Figure) -> str:
    return f"{figure.value:+.3f} ({figure.low:+.3f} to {figure.high:+.3f})"


def _peers(folder: Path | None, budget: float, asked: Sequence[str]) -> Peers | None:
    """FLAML and AutoGluon, or None with a word why not."""
    if folder is None:
        messages().print("FLAML and AutoGluon are left out: --peers names a folder for them")
        return None
    try:
        with messages().status(f"installing {', '.join(PACKAGES)} into {folder}"):
            return Peers(folder, budget, asked)
    except subprocess.CalledProcessError as problem:
        messages().print(f"FLAML and AutoGluon cannot be installed:\n{problem.stderr}", markup=False)
        return None


def _asked(parts: Sequence[str] | None) -> list[str]:
    """The questions whose names begin so; all where nothing is asked.

    Raises:
        SystemExit: no question begins so.
    """
    for part in parts or []:
        if not any(name.startswith(part) for name in QUESTIONS):
            raise SystemExit(f"--only {part}: no question begins so; there are {', '.join(QUESTIONS)}")
    return [name for name in QUESTIONS if not parts or name.startswith(tuple(parts))]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quality", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", metavar="NAME", help="the questions whose names begin so; may be repeated")
    parser.add_argument("--budget", type=float, default=60.0, metavar="SECONDS", help="of each fit of FLAML and AutoGluon")
    parser.add_argument("--peers", type=Path, metavar="DIR", help="the environment of FLAML and AutoGluon; made where missing")
    parser.add_argument("--peer", action="append", choices=PEERS, help="only this one of them; may be repeated")
    parser.add_argument(
        "--with-calibration-rows", action="store_true", help="let the rivals fit on Foresell's calibration rows, too"
    )
    parser.add_argument("--data", type=Path, default=DATA, metavar="DIR", help="the folder of data sets")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure to this file as well")
    given = parser.parse_args()
    silence_telemetry()
    names = _asked(given.only)
    peers = _peers(given.peers, given.budget, given.peer or list(PEERS))
    found: list[Comparison] = []
    with tempfile.TemporaryDirectory(prefix="foresell-quality-") as scratch:
        for name in names:
            question = QUESTIONS[name](given.data.resolve(), Path(scratch))
            found.append(compare(question, Path(scratch) / "studies" / name, peers, given.with_calibration_rows, progress))
            print(section(found[-1]), flush=True)
            if given.json:
                given.json.write_text(json.dumps([asdict(one) for one in found], indent=1), encoding="utf-8")
    print(summary(found))


if __name__ == "__main__":
    main()
