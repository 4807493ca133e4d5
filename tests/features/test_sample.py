"""The sample CRM: whole, repeatable, untidy as it should be, and true to the probabilities it claims."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from features import ingest, quality, sample
from features.catalog import Catalog
from features.database import connect
from features.errors import CallError
from features.sample.block import Block
from features.sample.calendar import Calendar
from features.sample.risk import Risk, Shock, moment, probability
from features.sample.turn import Turn, pace
from features.settings import SETTINGS_FILE, Workspace
from features.tables import TABLES

NOW = datetime(2026, 11, 3, 15, 30, tzinfo=UTC)
PERSONAL = {"first_name", "last_name", "email", "phone", "street"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> sample.Sample:
    return sample.make(tmp_path_factory.mktemp("sample") / "export", now=NOW, customers=500, seed=3)


@pytest.fixture(scope="module")
def workspace(made: sample.Sample, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    root = tmp_path_factory.mktemp("workspace")
    (root / SETTINGS_FILE).write_text(f'adapter = "sample"\nsource = "{made.export}"\n')
    return Workspace.open(root)


@pytest.fixture(scope="module")
def catalog(workspace: Workspace) -> Catalog:
    return ingest.run(workspace, NOW)


@pytest.fixture(scope="module")
def block() -> Block:
    calendar = Calendar.until(NOW)
    return Block.draw(np.random.default_rng(5), calendar, np.arange(4000), np.arange(6000))


def test_every_canonical_table_is_filled(catalog: Catalog) -> None:
    assert {name for name, table in catalog.tables.items() if table.rows} == set(TABLES)


def test_ingest_merges_the_copies_and_the_half_filled_twins(catalog: Catalog) -> None:
    assert catalog.tables["interactions"].merged > 0
    assert catalog.tables["orders"].merged > 0
    assert catalog.tables["customers"].rows == 500


def test_nothing_is_known_at_or_after_now(catalog: Catalog, workspace: Workspace) -> None:
    with connect(workspace) as connection:
        for name in TABLES:
            (latest,) = connection.execute(f"select max(known_at) from '{catalog.path(workspace, name)}'").fetchall()[0]
            assert latest < NOW.replace(tzinfo=None), name


def test_check_finds_no_error(workspace: Workspace, catalog: Catalog) -> None:
    assert catalog.now == NOW
    assert quality.check(workspace, NOW).errors == ()


def test_rows_arrive_late_are_corrected_and_spelt_in_several_ways(made: sample.Sample) -> None:
    activities = pd.read_parquet(made.export / "activities.parquet")
    assert 0.005 < (activities["logged"] > activities["occurred"]).mean() < 0.05
    assert {"email", "E-Mail"} <= set(activities["channel"])
    orders = pd.read_csv(made.export / "orders.csv.gz").drop_duplicates()
    corrected = orders.groupby("order_no")["logged"].nunique()
    assert (corrected > 1).any()
    assert orders["goods"].isna().any()


def test_the_truth_is_not_in_the_export(made: sample.Sample) -> None:
    assert made.truth.parent == made.export.parent and made.truth != made.export
    assert {path.stem for path in made.truth.iterdir()} == {"lead-conversion", "churn", "upsell"}
    assert not {path.stem for path in made.export.iterdir()} & {"lead-conversion", "churn", "upsell"}
    assert made.rows.keys() == {path.name for folder in (made.export, made.truth) for path in folder.iterdir()}


def test_people_are_in_the_export_and_in_no_table(made: sample.Sample, catalog: Catalog) -> None:
    for name in ("contacts", "leads"):
        assert set(pd.read_csv(made.export / f"{name}.csv", nrows=1)) >= PERSONAL
    columns = {column for table in catalog.tables.values() for column in table.columns}
    assert not columns & PERSONAL
    assert "status" not in catalog.tables["customers"].columns


def test_the_same_seed_writes_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    first, again, other = (
        _bytes(sample.make(tmp_path / name / "export", now=NOW, customers=120, seed=seed))
        for name, seed in (("first", 1), ("again", 1), ("other", 2))
    )
    assert first == again
    assert {name for name in first if first[name] == other[name]} == {"campaigns.xlsx"}


def test_blocks_are_numbered_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("features.sample.crm.BLOCK", 100)
    ticks: list[int] = []
    made = sample.make(tmp_path / "export", now=NOW, customers=250, tick=ticks.append)
    assert ticks == [100, 100, 50]
    contacts = pd.read_csv(made.export / "contacts.csv").drop_duplicates()
    assert sorted(contacts["customer_no"]) == list(range(100_001, 100_251))
    contracts = pd.read_csv(made.export / "contracts.csv")
    assert (contracts.groupby("contract")["customer_no"].nunique() == 1).all()


def test_too_few_customers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CallError, match="at least 100"):
        sample.make(tmp_path / "export", now=NOW, customers=99)
    assert not (tmp_path / "export").exists()


def test_probabilities_are_true_in_every_decile(block: Block) -> None:
    """What happened differs from what was probable by no more than chance, all rows of an entity taken together."""
    for name, rows in _foreseen(block).items():
        decile = pd.qcut(rows["probability"].rank(method="first"), 10, labels=False)
        for number, group in [("all", rows), *rows.groupby(decile)]:
            surplus = (group["outcome"] - group["probability"]).groupby(group["entity"]).sum()
            error = np.sqrt((surplus**2).sum())
            assert abs(surplus.sum()) < 4 * max(error, 1.0), (name, number)


def test_rates_and_best_reachable_auc_are_in_the_intended_range(block: Block) -> None:
    rates = {"lead-conversion": (0.08, 0.15), "churn": (0.07, 0.12), "upsell": (0.05, 0.08)}
    for name, rows in _foreseen(block).items():
        assert rates[name][0] < rows["probability"].mean() < rates[name][1], name
        assert 0.75 < roc_auc_score(rows["outcome"], rows["probability"]) < 0.88, name


def test_the_truth_covers_the_grid_and_only_instants_whose_outcomes_are_known(made: sample.Sample) -> None:
    for name, step, horizon in (("lead-conversion", 7, 30), ("churn", 28, 90), ("upsell", 28, 90)):
        truth = pd.read_parquet(made.truth / f"{name}.parquet")
        instants = truth["as_of"].drop_duplicates().sort_values()
        assert set(instants.diff().dropna()) == {pd.Timedelta(days=step)}
        assert instants.max() + pd.Timedelta(days=horizon) <= NOW
        assert not truth.duplicated(["entity_id", "as_of"]).any()
        assert truth["probability"].between(0, 1).all()


def test_survival_is_what_simulation_shows() -> None:
    """The closed form against 40,000 simulated lives, with shocks before and after the as_of and a broken last step."""
    rng, size, steps = np.random.default_rng(0), 40_000, 12
    shock = Shock.draw(rng, np.full((size, steps), 0.1), np.array([0.0, 0.3, 0.2]), np.zeros(size, dtype=np.int64))
    at = 4
    shock.happened[:, :at] = [False, True, False, True]  # everybody has the same past
    risk = Risk(np.full(size, 0.8), np.full((size, steps), 0.05), (shock,))
    time = moment(risk.rate(), np.full(size, float(at)), rng.exponential(size=size)) - at
    survival = risk.survival(np.array([0]), np.array([at]), 5.5)[0]
    seen = [(time >= after).mean() for after in (0, 1, 2, 3, 4, 5, 5.5)]
    assert survival == pytest.approx(seen, abs=0.008)


def test_survival_is_what_simulation_shows_in_a_world_that_turns() -> None:
    """As above, with a rate that doubles in the third step after the as_of."""
    rng, size, steps, at = np.random.default_rng(0), 40_000, 12, 4
    shock = Shock.draw(rng, np.full((size, steps), 0.1), np.array([0.0, 0.3, 0.2]), np.zeros(size, dtype=np.int64))
    shock.happened[:, :at] = [False, True, False, True]
    turned = np.where(np.arange(steps) >= at + 2, 2.0, 1.0) * np.ones((size, 1))
    risk = Risk(np.full(size, 0.8), np.full((size, steps), 0.05), (shock,), turned)
    time = moment(risk.rate(), np.full(size, float(at)), rng.exponential(size=size)) - at
    survival = risk.survival(np.array([0]), np.array([at]), 5.5)[0]
    assert survival == pytest.approx([(time >= after).mean() for after in (0, 1, 2, 3, 4, 5, 5.5)], abs=0.008)


def test_a_turn_changes_no_rate_before_it_and_turns_who_is_likeliest() -> None:
    start, lean = datetime(2026, 1, 5, tzinfo=UTC), np.array([-1.0, 0.0, 0.5, 1.0])
    steps = np.arange(20.0)
    since = start + timedelta(weeks=8)
    doubled = pace([Turn(since, rate=2.0)], start, steps, lean)
    assert (doubled[:, :8] == 1).all() and (doubled[:, 8:] == 2).all()
    turned = np.exp(lean)[:, None] * pace([Turn(since, weeks=10)], start, steps, lean)
    assert (turned[:, :9] == np.exp(lean)[:, None]).all()
    assert turned.mean(axis=0) == pytest.approx(np.exp(lean).mean())
    assert (np.argsort(turned[:, -1]) == [3, 2, 1, 0]).all() and np.ptp(turned[:, 13]) == pytest.approx(0)


def test_no_lead_is_won_otherwise_before_the_world_turns_and_its_truth_stays_true() -> None:
    since = Calendar.until(NOW).start + timedelta(weeks=60)
    turns = (Turn(since, rate=2.0), Turn(since, weeks=20))
    blocks = [
        Block.draw(np.random.default_rng(5), Calendar.until(NOW, turns=some), np.arange(2000), np.arange(6000))
        for some in ((), turns)
    ]
    before, after = (block.leads for block in blocks)
    assert (before.created == after.created).all()
    early = (before.won < 420) | (after.won < 420)
    assert (before.won[early] == after.won[early]).all() and (before.won != after.won).any()
    for name, rows in _foreseen(blocks[1]).items():
        surplus = (rows["outcome"] - rows["probability"]).groupby(rows["entity"]).sum()
        assert abs(surplus.sum()) < 4 * np.sqrt((surplus**2).sum()), name


def test_survival_knows_nothing_of_shocks_at_or_after_the_as_of() -> None:
    happened = np.zeros((1, 10), dtype=bool)
    shock = Shock(np.full((1, 10), 0.2), np.ones(3), happened)
    risk = Risk(np.ones(1), np.full((1, 10), 0.1), (shock,))
    later = happened.copy()
    later[0, 5:] = True
    other = replace(risk, shocks=(replace(shock, happened=later),))
    rows, at = np.array([0]), np.array([5])
    assert (risk.survival(rows, at, 4) == other.survival(rows, at, 4)).all()
    later[0, 4] = True
    assert (risk.survival(rows, at, 4)[0, 1:] > other.survival(rows, at, 4)[0, 1:]).all()


def test_a_shock_acts_from_the_next_step_on() -> None:
    happened = np.array([[True, False, False, False]])
    assert Shock(np.zeros((1, 4)), np.array([2.0, 1.0]), happened).level().tolist() == [[0.0, 2.0, 1.0, 0.0]]


def test_a_moment_lies_where_the_rate_adds_up_to_the_threshold() -> None:
    rate = np.array([[0.5, 0.0, 1.0], [0.5, 0.0, 1.0], [0.5, 0.0, 1.0], [0.5, 0.0, 1.0]])
    begin = np.array([0.0, 0.5, -3.0, 0.0])
    threshold = np.array([0.25, 0.5, 0.75, 1.6])
    assert moment(rate, begin, threshold).tolist() == [0.5, 2.25, 2.25, np.inf]


def test_a_rival_takes_what_comes_after_it() -> None:
    sure = np.array([[1.0, 0.5, 0.5]])
    assert probability(sure, np.ones((1, 3))).tolist() == [0.5]
    assert probability(sure, np.array([[1.0, 0.25, 0.25]])).tolist() == [0.25]


def test_the_calendar_begins_on_the_grid_and_holds_now() -> None:
    calendar = Calendar.until(NOW)
    assert (calendar.start - datetime(2018, 1, 1, tzinfo=UTC)).days % 7 == 0
    assert calendar.weeks - 1 <= calendar.end < calendar.weeks
    midnight = Calendar.until(datetime(2026, 11, 2, tzinfo=UTC))
    assert midnight.end == midnight.weeks - 1
    assert np.isnat(calendar.instants(np.array([np.inf]))[0])


def test_in_quiet_weeks_no_price_rises_and_no_campaign_runs() -> None:
    calendar = Calendar.until(NOW, quiet_weeks=52)
    assert max(*calendar.price_rises(), *calendar.spike()) <= calendar.weeks - 52
    assert Calendar.until(NOW).spike() != calendar.spike()


def _bytes(made: sample.Sample) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for folder in (made.export, made.truth) for path in folder.iterdir()}


def _foreseen(block: Block) -> dict[str, pd.DataFrame]:
    """Per propensity: entity, true probability and outcome over the grid."""
    found: dict[str, list[pd.DataFrame]] = {"lead-conversion": [], "churn": [], "upsell": []}
    for name, entity, probable, outcome in _rows(block):
        found[name].append(pd.DataFrame({"entity": entity, "probability": probable, "outcome": outcome.astype(float)}))
    return {name: pd.concat(frames, ignore_index=True) for name, frames in found.items()}


def _rows(block: Block) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
    weeks = block.leads.calendar.weeks
    for week in range(13, weeks - 5):
        rows, probable = block.leads.truth(week)
        yield "lead-conversion", rows, probable, block.leads.won[rows] < 7 * week + 30
    for week in range(13, weeks - 13, 4):
        for spell in block.spells:
            rows, cancel, upgrade = spell.truth(week)
            until = week + 90 / 7
            yield "churn", spell.who[rows], cancel, spell.end[rows] < until
            moved = spell.moved[rows]
            yield "upsell", spell.who[rows], upgrade, ((moved >= week) & (moved < until)).any(axis=1)
