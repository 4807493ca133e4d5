from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from features.propensity import SHIPPED, read_file
from training.leakage.truncation import base_rate_findings, largest_jump

CONVERSION, CHURN = read_file(SHIPPED / "lead-conversion.toml"), read_file(SHIPPED / "churn.toml")
ABSENT = CHURN.model_copy(update={"outcome": CHURN.outcome.model_copy(update={"table": None, "at": None, "absent": "orders"})})
FIRST = pd.Timestamp("2024-01-01", tz="UTC")


def dates(*rates: float, entities: int = 400, same: bool = False) -> pd.DataFrame:
    """Weekly dates at which these shares have the outcome; each has entities of its own unless they are the same."""
    frames = [
        pd.DataFrame(
            {
                "entity_id": [f"e{n if same else n + week * entities}" for n in range(entities)],
                "as_of": FIRST + pd.Timedelta(weeks=week),
                "label": (np.arange(entities) < rate * entities).astype(np.int8),
            }
        )
        for week, rate in enumerate(rates)
    ]
    return pd.concat(frames, ignore_index=True)


def judged(frame: pd.DataFrame, propensity=CONVERSION) -> list[tuple[str, str]]:
    return [(finding.severity, finding.repair) for finding in base_rate_findings(frame, propensity, "propensities/x.toml")]


def test_a_history_that_was_cut_off_is_an_error_and_suggests_the_first_as_of():
    frame = dates(0.0025, 0.0025, 0.0025, 0.1, 0.1, 0.1)
    [finding] = base_rate_findings(frame, CONVERSION, "propensities/x.toml")
    assert (finding.check, finding.severity, finding.place) == ("base_rate", "error", "leads.converted_at")
    assert "0.2% of the rows before 2024-01-22 and in 10.0% of those from then on" in finding.sentence
    assert finding.repair.startswith('propensities/x.toml: `first_as_of = "2024-01-22"`')


@pytest.mark.parametrize(
    ("rates", "severity"),
    [
        ((0.03, 0.03, 0.1, 0.1), "warning"),
        ((0.07, 0.07, 0.45, 0.45), "warning"),
        ((0.1, 0.1, 0.02, 0.02), "warning"),
        ((0.05, 0.05, 0.1, 0.1), None),
        ((0.1,), None),
        ((0.0, 0.0), None),
        ((1.0, 1.0), None),
    ],
    ids=["three times", "the honest drift of bank_marketing", "it falls", "a season", "one date", "none", "all"],
)
def test_a_smaller_jump_is_a_warning_or_nothing(rates, severity):
    assert [found for found, _ in judged(dates(*rates))] == ([] if severity is None else [severity])


def test_outcomes_that_are_not_yet_recorded_ask_for_an_earlier_now():
    falling = dates(0.1, 0.1, 0.02, 0.02)
    assert judged(falling)[0][1].startswith("`now` in adapter.toml")
    assert "first_as_of" in judged(falling, ABSENT)[0][1], "nothing recorded looks like churn"


def test_few_entities_tell_nothing_however_many_rows_they_have():
    rates = (0.02,) * 10 + (0.1,) * 10
    assert judged(dates(*rates, entities=400))
    assert judged(dates(*rates, entities=110, same=True)) == []
    assert judged(dates(*rates, entities=4)) == []


def test_the_largest_jump_is_at_its_date():
    jump = largest_jump(dates(0.1, 0.1, 0.12, 0.3, 0.3))
    assert jump.as_of == FIRST + pd.Timedelta(weeks=3)
    assert (jump.before, jump.after) == (pytest.approx(0.1067, abs=0.001), pytest.approx(0.3))
    assert largest_jump(dates(0.1)) is None
