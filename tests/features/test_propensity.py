from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from features.errors import PropensityError, WorkspaceError
from features.propensity import Value, load, load_all, read_file
from features.settings import REPOSITORY, Settings, Workspace, parse_instant

CHURN = """
question = "Will this customer stop buying?"
entity = "customer"
horizon = "90d"
eligible = ["orders_count_365d >= 1"]
[outcome]
absent = "orders"
"""


def write(folder: Path, text: str, name: str = "churn") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "path", sorted((REPOSITORY / "features").rglob("propensities/*.toml")), ids=lambda p: f"{p.parts[-3]}-{p.stem}"
)
def test_every_shipped_file_is_read(path: Path) -> None:
    propensity = read_file(path)
    assert propensity.name == path.stem and propensity.question.endswith("?")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("horizon", "horison"), "horizon"),
        (('"90d"', '"90 days"'), "days as"),
        (('absent = "orders"', 'absent = "orders"\ntable = "orders"'), "exactly one of"),
        (('absent = "orders"', 'table = "orders"\nsum = "amount"'), "together"),
        ((">= 1", ">= one"), "column op value"),
        (("[outcome]", "lead_time = '90d'\n[outcome]"), "shorter"),
        (('entity = "customer"', 'entity = "dealer"'), "entity"),
        (("[outcome]", "[grades]\nA = 0.5\n[outcome]"), "1 > A"),
        (("[outcome]", "[value]\ntimes = 12\n[outcome]"), "exactly one of `column` and `amount`"),
        (("[outcome]", "[value]\ncolumn = 'a'\namount = 5\n[outcome]"), "exactly one of `column` and `amount`"),
        (("[outcome]", "[value]\namount = 5\ntimes = 12\n[outcome]"), "`times` with `column`"),
        (("[outcome]", "[value]\namount = 5\nsuccess = 1.2\n[outcome]"), "success"),
        (("[outcome]", "[value]\namount = 5\ncost = -1\n[outcome]"), "cost"),
        (("[outcome]", "[value]\namount = 5\ncapacity = 20\n[outcome]"), "value.capacity"),
        (("question", "= question"), "TOML"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused_with_the_key(tmp_path: Path, change: tuple[str, str], told: str) -> None:
    path = write(tmp_path, CHURN.replace(*change))
    with pytest.raises(PropensityError, match=told) as caught:
        read_file(path)
    assert str(path) in caught.value.where


@pytest.mark.parametrize("name", ["actions", "scores"])
def test_a_name_that_is_a_path_of_the_service_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(PropensityError, match="paths of the service"):
        read_file(write(tmp_path, CHURN, name))


def test_the_worth_of_an_outcome_is_a_column_times_a_factor_or_one_amount() -> None:
    year = Value(column="mrr", times=12)
    assert [year.worth({"mrr": known}) for known in (10.0, 0, None, float("nan"), "10")] == [120.0, 0, None, None, None]
    assert year.columns == ("mrr",)
    same = Value(amount=50, cost=2, success=0.3, capacity_per_day=20)
    assert same.worth({}) == 50
    assert same.columns == ()


def test_a_workspace_overrides_and_adds(tmp_path: Path) -> None:
    write(tmp_path / "propensities", CHURN)
    write(tmp_path / "propensities", CHURN, "lapse")
    workspace = Workspace(tmp_path, Settings())
    assert load(workspace, "churn").outcome.absent == "orders"
    assert [p.name for p in load_all(workspace)] == ["churn", "lapse", "lead-conversion", "upsell"]


def test_an_unknown_propensity_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(PropensityError, match="churn, lead-conversion, upsell"):
        load(Workspace(tmp_path, Settings()), "chrun")


def test_the_grid_is_fixed_to_mondays_and_holds_mature_instants_only(tmp_path: Path) -> None:
    propensity = read_file(write(tmp_path, CHURN))
    first, until = parse_instant("2024-01-01"), parse_instant("2024-06-30")
    grid = propensity.as_ofs(first, until)
    assert all(as_of.weekday() == 0 for as_of in grid)
    assert grid == propensity.as_ofs(first, until + timedelta(days=1)), "tomorrow's grid is today's"
    edge = grid[-1] + propensity.horizon
    assert propensity.as_ofs(first, edge)[-1] == grid[-1]
    assert propensity.as_ofs(first, edge - timedelta(microseconds=1))[-1] == grid[-2]
    assert propensity.as_ofs(until, first) == []


def test_a_first_as_of_cuts_the_grid(tmp_path: Path) -> None:
    propensity = read_file(write(tmp_path, 'first_as_of = "2024-02-05"\n' + CHURN))
    grid = propensity.as_ofs(parse_instant("2023-01-01"), parse_instant("2024-12-31"))
    assert grid[0] >= parse_instant("2024-02-05")


def test_a_workspace_without_a_file_or_with_an_unknown_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match=r"foresell\.toml"):
        Workspace.open(tmp_path)
    (tmp_path / "foresell.toml").write_text("adaptor = 'olist'")
    with pytest.raises(WorkspaceError, match="adaptor"):
        Workspace.open(tmp_path)
