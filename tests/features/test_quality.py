"""Each rule with a table that breaks it and one at the edge of it; the report, the refusal, the record and the command."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import CliRunner, Result

import foresell
from features import quality
from features.catalog import Catalog
from features.errors import QualityError, TableError
from features.ruleset import FRESH
from features.settings import Attribute, Settings, Workspace
from features.usability import USABILITY_FILE, Finding, Usability
from tests.worlds import Rows, make_workspace

NOW = datetime(2024, 6, 1, tzinfo=UTC)
NAIVE = NOW.replace(tzinfo=None)
MAY = NAIVE - timedelta(days=15)
MICROSECOND = timedelta(microseconds=1)


def sound() -> dict[str, Rows]:
    """A world without a fault: 40 customers with an order and a survey each, and one row of what else the rules look at."""
    ids = [f"c{number:02}" for number in range(40)]
    return {
        "leads": [{"lead_id": "l0", "created_at": MAY, "customer_id": "c00"}],
        "customers": [{"customer_id": id, "created_at": MAY, "region": "ab"[number % 2]} for number, id in enumerate(ids)],
        "interactions": [{"interaction_id": "i0", "lead_id": "l0", "occurred_at": MAY, "channel": "web", "kind": "visit"}],
        "orders": [{"order_id": f"o-{id}", "customer_id": id, "occurred_at": MAY, "amount": 10, "discount": 0} for id in ids],
        "surveys": [{"survey_id": f"s-{id}", "customer_id": id, "occurred_at": MAY, "kind": "nps", "score": 10} for id in ids],
        "subscriptions": [{"subscription_id": "a0", "customer_id": "c00", "started_at": MAY, "plan": "basic"}],
        "attribute_history": [
            {"entity": "lead", "entity_id": "l0", "field": "size", "value": "big", "valid_from": MAY},
            {"entity": "customer", "entity_id": "c00", "field": "size", "value": "big", "valid_from": MAY},
        ],
    }  # fmt: skip


def world(root: Path, tables: dict[str, Rows], **catalog: Any) -> Workspace:
    return make_workspace(
        root, tables, now=NOW.isoformat(), attributes={"customers": {"region": Attribute(fixed=True)}}, **catalog
    )


def findings(workspace: Workspace) -> list[Finding]:
    """What is found without GX's record of it."""
    (workspace.quality / USABILITY_FILE).unlink(missing_ok=True)
    with suppress(QualityError):
        quality.require(workspace)
    usability = Usability.last(workspace)
    assert usability is not None
    return [*usability.errors, *usability.warnings]


def found(workspace: Workspace) -> set[tuple[str, str, str, str, int]]:
    return {(one.severity, one.table, one.column, one.about, one.rows) for one in findings(workspace)}


def test_sound_tables_have_no_findings(tmp_path: Path) -> None:
    assert found(world(tmp_path, sound())) == set()


def _changed(table: str, rows: int, **values: Any) -> dict[str, Rows]:
    """The entities and one table of the sound world, the first `rows` rows of that table changed."""
    tables = sound()
    for row in tables[table][:rows]:
        row |= values
    return {name: tables[name] for name in dict.fromkeys(["leads", "customers", table])}


ORDER = ("order of times", 1)
BREACHES = {  # what is changed in the first rows of a table -> severity, column and kind of the one finding, and its rows
    "a required value is missing": ("orders", 1, {"amount": None}, ("error", "amount", "missing", 1)),
    "a key is missing": ("orders", 1, {"order_id": None}, ("error", "order_id", "missing", 1)),
    "a key is repeated": ("orders", 2, {"order_id": "o"}, ("error", "order_id", "unique", 2)),
    "an unknown customer": ("orders", 1, {"customer_id": "x"}, ("warning", "customer_id", "reference to customers", 1)),
    "many unknown customers": ("orders", 3, {"customer_id": "x"}, ("error", "customer_id", "reference to customers", 3)),
    "history of an unknown lead": ("attribute_history", 1, {"entity_id": "x"}, ("error", "entity_id", "reference to leads", 1)),
    "an interaction of nobody": ("interactions", 1, {"lead_id": None}, ("error", "", "owner", 1)),
    "a value that is not allowed": ("surveys", 1, {"kind": "NPS"}, ("warning", "kind", "allowed", 1)),
    "many values that are not allowed": ("surveys", 3, {"kind": "NPS"}, ("error", "kind", "allowed", 3)),
    "above the range": ("surveys", 1, {"score": 10.1}, ("warning", "score", "range", 1)),
    "below the range": ("orders", 1, {"discount": -0.0001}, ("warning", "discount", "range", 1)),
    "many below the range": ("orders", 3, {"discount": -1}, ("error", "discount", "range", 3)),
    "known in the future": ("orders", 1, {"known_at": NAIVE + MICROSECOND}, ("warning", "known_at", "future", 1)),
    "much known in the future": ("orders", 3, {"known_at": NAIVE + MICROSECOND}, ("error", "known_at", "future", 3)),
    "known before it happened": ("orders", 1, {"known_at": MAY - MICROSECOND}, ("warning", "known_at", *ORDER)),
    "won before it was created": ("leads", 1, {"converted_at": MAY - MICROSECOND}, ("warning", "converted_at", *ORDER)),
    "ended before it began": ("subscriptions", 1, {"ended_at": MAY - MICROSECOND}, ("warning", "ended_at", *ORDER)),
    "a subscription that is planned": (
        "subscriptions", 1, {"started_at": NAIVE + MICROSECOND, "known_at": NAIVE},
        ("warning", "started_at", "future", 1),
    ),
    "nothing new": ("subscriptions", 1, {"started_at": NAIVE - FRESH - MICROSECOND}, ("warning", "known_at", "fresh", 0)),
    "an attribute that is mostly missing": ("customers", 21, {"region": None}, ("warning", "region", "mostly missing", 21)),
    "a constant attribute": ("customers", 40, {"region": "a"}, ("warning", "region", "constant", 0)),
}  # fmt: skip


@pytest.mark.parametrize("breach", BREACHES)
def test_a_breach_is_found_and_told_once(tmp_path: Path, breach: str) -> None:
    table, rows, values, (severity, column, about, concerned) = BREACHES[breach]
    assert found(world(tmp_path, _changed(table, rows, **values))) == {(severity, table, column, about, concerned)}


EDGES = {
    "known exactly now": ("orders", 40, {"known_at": NAIVE}),
    "happened and known exactly now": ("orders", 40, {"occurred_at": NAIVE}),
    "the highest value allowed": ("surveys", 40, {"score": 10}),
    "the lowest value allowed": ("surveys", 40, {"score": 0}),
    "an optional value is missing": ("orders", 40, {"discount": None}),
    "two versions of one row": ("orders", 0, {}),
    "won at the instant it was created": ("leads", 1, {"converted_at": MAY}),
    "just fresh": ("subscriptions", 1, {"started_at": NAIVE - FRESH}),
    "half of an attribute is missing": ("customers", 20, {"region": None}),
    "an interaction of a customer": ("interactions", 1, {"lead_id": None, "customer_id": "c00"}),
    "a lead who is no customer": ("leads", 1, {"customer_id": None}),
}


@pytest.mark.parametrize("edge", EDGES)
def test_the_edge_of_a_rule_is_no_breach(tmp_path: Path, edge: str) -> None:
    table, rows, values = EDGES[edge]
    tables = _changed(table, rows, **values)
    if edge == "two versions of one row":
        tables["orders"].append({**tables["orders"][0], "known_at": MAY + MICROSECOND})
    if edge == "half of an attribute is missing":
        tables["customers"][20]["region"] = "a"
    assert found(world(tmp_path, tables)) == set()


@pytest.mark.parametrize("values", [{"customer_id": "x"}, {"discount": -1}, {"known_at": NAIVE + MICROSECOND}])
def test_exactly_the_tolerated_share_of_broken_rows_is_a_warning(tmp_path: Path, values: dict[str, Any]) -> None:
    """Two of forty orders are 5 %."""
    assert {one.severity for one in findings(world(tmp_path, _changed("orders", 2, **values)))} == {"warning"}


@pytest.mark.parametrize(
    ("previous", "severity"), [(None, None), (40, None), (50, None), (51, "warning"), (80, "warning"), (81, "error")]
)
def test_fewer_rows_than_the_last_ingest(tmp_path: Path, previous: int | None, severity: str | None) -> None:
    """40 rows are four fifths of 50 and half of 80."""
    workspace = world(tmp_path, sound())
    catalog = Catalog.load(workspace)
    orders = replace(catalog.tables["orders"], previous_rows=previous)
    replace(catalog, tables={**catalog.tables, "orders": orders}).save(workspace)
    assert found(workspace) == ({(severity, "orders", "", "row count", 0)} if severity else set())


def test_an_empty_table_is_told_once_and_is_an_error_for_entities(tmp_path: Path) -> None:
    empty = {**sound(), "surveys": [], "leads": []}
    told = {(one.severity, one.table) for one in findings(world(tmp_path, empty)) if one.about == "empty"}
    assert told == {("warning", "surveys"), ("error", "leads")}
    assert {one.about for one in findings(world(tmp_path, empty)) if one.table == "surveys"} == {"empty"}


def _rewritten(workspace: Workspace, table: str, select: str) -> Workspace:
    """The workspace with the file and the catalog entry of a table replaced by a query on it."""
    catalog = Catalog.load(workspace)
    path = catalog.path(workspace, table)
    with duckdb.connect() as connection:
        connection.execute(f"create table rewritten as select {select} from '{path}'")
        connection.execute(f"copy rewritten to '{path}' (format parquet)")
        columns = {name: kind for name, kind, *_ in connection.execute("describe rewritten").fetchall()}
    stored = replace(catalog.tables[table], columns=columns)
    replace(catalog, tables={**catalog.tables, table: stored}).save(workspace)
    return workspace


def test_a_missing_column_is_an_error_and_hides_what_cannot_be_measured(tmp_path: Path) -> None:
    workspace = _rewritten(world(tmp_path, sound()), "orders", "* exclude (amount)")
    assert found(workspace) == {("error", "orders", "amount", "column", 0)}


def test_a_wrong_type_is_an_error_and_names_both_types(tmp_path: Path) -> None:
    workspace = _rewritten(world(tmp_path, sound()), "orders", "* replace (amount::varchar as amount)")
    (finding,) = findings(workspace)
    assert (finding.severity, finding.about) == ("error", "type")
    assert "VARCHAR" in finding.wrong and "DECIMAL(18,4)" in finding.wrong


def test_a_wrong_type_of_an_optional_column_leaves_the_other_rules(tmp_path: Path) -> None:
    workspace = _rewritten(
        world(tmp_path, _changed("orders", 1, amount=None)), "orders", "* replace (discount::varchar as discount)"
    )
    assert {one.column for one in findings(workspace)} == {"amount", "discount"}


def test_an_optional_owner_that_was_never_delivered_is_no_owner(tmp_path: Path) -> None:
    workspace = _rewritten(world(tmp_path, sound()), "interactions", "* exclude (customer_id)")
    assert found(workspace) == set()
    workspace = _rewritten(workspace, "interactions", "* exclude (lead_id)")
    assert found(workspace) == {("error", "interactions", "", "owner", 1)}


def test_without_the_table_it_refers_to_a_reference_is_not_checked(tmp_path: Path) -> None:
    tables = _changed("leads", 1, customer_id="x")
    assert found(world(tmp_path, {"leads": tables["leads"]})) == set()


def test_a_finding_names_the_first_five_rows_its_cost_and_its_repair(tmp_path: Path) -> None:
    (finding,) = findings(world(tmp_path, _changed("orders", 7, customer_id="x")))
    assert finding.wrong == "7 orders with a `customer_id` that customers does not have"
    assert finding.examples == tuple({"order_id": f"o-c0{number}", "customer_id": "x"} for number in range(5))
    assert finding.cost == "they cannot be joined to customers and count for nobody"
    assert "orders.sql" in finding.repair


def test_a_lead_of_an_unknown_customer_still_counts(tmp_path: Path) -> None:
    (finding,) = findings(world(tmp_path, _changed("leads", 1, customer_id="x")))
    assert finding.cost == "they cannot be joined to customers and nothing of customers is known of them"


def test_one_row_is_told_in_the_singular(tmp_path: Path) -> None:
    (finding,) = findings(world(tmp_path, _changed("orders", 1, amount=None)))
    assert finding.wrong == "1 order without `amount`"


def test_an_attribute_that_may_change_is_not_judged_by_the_entity_row(tmp_path: Path) -> None:
    tables = _changed("customers", 40, region=None)
    workspace = make_workspace(tmp_path, tables, now=NOW.isoformat(), attributes={"customers": {"region": Attribute()}})
    assert found(workspace) == set()


def test_a_damaged_file_is_an_error_that_names_the_table(tmp_path: Path) -> None:
    workspace = world(tmp_path, sound())
    path = Catalog.load(workspace).path(workspace, "orders")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(TableError, match="table orders"):
        quality.require(workspace)


def test_require_refuses_errors_and_says_what_to_do(tmp_path: Path) -> None:
    workspace = world(tmp_path, _changed("orders", 3, amount=None, customer_id="x"))
    with pytest.raises(QualityError) as raised:
        quality.require(workspace)
    assert raised.value.received == "3 orders without `amount`, and 1 more error"
    assert "foresell check" in raised.value.repair


def test_require_takes_warnings(tmp_path: Path) -> None:
    quality.require(world(tmp_path, _changed("orders", 1, customer_id="x")))


@pytest.mark.parametrize(
    "change",
    [
        {"version": "another"},
        {"observed_until": (NOW + MICROSECOND).isoformat()},
        {"attributes": {"customers": {}}},
        {"tables": 41},
    ],
    ids=["the tables", "now", "the attributes", "the rows of the ingest before"],
)
def test_require_trusts_the_last_check_only_while_the_catalog_says_the_same(tmp_path: Path, change: dict[str, Any]) -> None:
    workspace = world(tmp_path, _changed("orders", 1, amount=None))
    catalog = Catalog.load(workspace)
    Usability(catalog.version, catalog.digest, NOW.isoformat(), {}, (), ()).save(workspace)
    quality.require(workspace)
    if "tables" in change:
        orders = replace(catalog.tables["orders"], previous_rows=change["tables"])
        change = {"tables": {**catalog.tables, "orders": orders}}
    replace(catalog, **change).save(workspace)
    with pytest.raises(QualityError):
        quality.require(workspace)


def test_a_mended_now_is_enough_for_the_same_tables(tmp_path: Path) -> None:
    workspace = world(tmp_path, _changed("orders", 3, known_at=NAIVE + MICROSECOND))
    with pytest.raises(QualityError):
        quality.require(workspace)
    replace(Catalog.load(workspace), observed_until=(NOW + MICROSECOND).isoformat()).save(workspace)
    quality.require(workspace)


def test_a_check_at_another_instant_is_not_trusted(tmp_path: Path) -> None:
    workspace = world(tmp_path, _changed("orders", 3, known_at=NAIVE + MICROSECOND))
    assert quality.check(workspace, NOW + MICROSECOND).usable
    with pytest.raises(QualityError):
        quality.require(workspace)


@pytest.mark.parametrize("missing", ["catalog", "docs"])
def test_the_file_of_another_foresell_counts_as_never_checked(tmp_path: Path, missing: str) -> None:
    workspace = world(tmp_path, sound())
    quality.require(workspace)
    path = workspace.quality / USABILITY_FILE
    path.write_text(json.dumps({key: value for key, value in json.loads(path.read_text()).items() if key != missing}))
    assert Usability.last(workspace) is None
    quality.require(workspace)
    assert Usability.last(workspace) is not None


@pytest.mark.parametrize("name", ["group", "order", "end"])
def test_an_attribute_may_be_named_as_a_word_of_sql(tmp_path: Path, name: str) -> None:
    tables = sound()
    for row in tables["customers"]:
        row[name] = None
    workspace = make_workspace(tmp_path, tables, now=NOW.isoformat(), attributes={"customers": {name: Attribute(fixed=True)}})
    assert {(one.column, one.about, one.rows) for one in findings(workspace)} == {
        (name, "mostly missing", 40), (name, "constant", 0),
    }  # fmt: skip


def test_require_does_not_load_great_expectations(tmp_path: Path) -> None:
    world(tmp_path, _changed("orders", 0))
    script = (
        "import sys; from pathlib import Path; from features.quality import require\n"
        "from features.settings import Settings, Workspace\n"
        f"require(Workspace(Path({str(tmp_path)!r}), Settings()))\n"
        "assert 'great_expectations' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(quality.__file__).parents[1])


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Usability]:
    """A workspace with an error and a warning, checked twice: the second check replaces the first."""
    tables = sound()
    tables["orders"][0]["amount"] = None
    tables["surveys"][0]["customer_id"] = "<b>x</b>"
    workspace = world(tmp_path_factory.mktemp("checked"), tables)
    quality.check(workspace, NOW)
    return workspace, quality.check(workspace, NOW)


def test_a_check_is_remembered(checked: tuple[Workspace, Usability]) -> None:
    workspace, usability = checked
    assert usability == Usability.last(workspace)
    assert usability.version == Catalog.load(workspace).version
    assert (len(usability.errors), len(usability.warnings), usability.usable) == (1, 1, False)
    with pytest.raises(QualityError):
        quality.require(workspace)


def test_great_expectations_keeps_one_suite_and_one_result_a_table(checked: tuple[Workspace, Usability]) -> None:
    workspace, usability = checked
    kept = workspace.quality / "gx"
    assert {path.stem for path in (kept / "expectations").glob("*.json")} == set(usability.tables)
    (path,) = (kept / "uncommitted" / "validations" / "orders").rglob("*.json")
    result = json.loads(path.read_text(encoding="utf-8"))
    (broken,) = [one for one in result["results"] if not one["success"]]
    assert broken["expectation_config"]["type"] == "expect_column_values_to_not_be_null"
    assert broken["expectation_config"]["severity"] == "critical"
    assert (broken["result"]["element_count"], broken["result"]["unexpected_count"]) == (40, 1)
    assert broken["result"]["partial_unexpected_index_list"] == [{"order_id": "o-c00", "amount": None}]


def test_great_expectations_judges_as_we_do(tmp_path: Path) -> None:
    """The kinds of rule that fail nowhere in the comparison with stock Great Expectations: columns, types, row counts."""
    workspace = _rewritten(world(tmp_path, sound()), "orders", "* exclude (amount) replace (discount::varchar as discount)")
    catalog = Catalog.load(workspace)
    fewer = {"surveys": replace(catalog.tables["surveys"], previous_rows=60)}
    replace(catalog, tables={**catalog.tables, **fewer}).save(workspace)
    usability = quality.check(workspace, NOW)
    verdicts = [
        json.loads(path.read_text(encoding="utf-8")) for path in (workspace.quality / "gx").rglob("validations/**/*.json")
    ]
    failed = {one["expectation_config"]["type"] for verdict in verdicts for one in verdict["results"] if not one["success"]}
    assert failed == {"expect_column_to_exist", "expect_column_type_to_be", "expect_table_row_count_to_be_between"}
    assert {one.about for one in (*usability.errors, *usability.warnings)} == {"column", "type", "row count"}


def test_the_data_docs_are_linked_escaped_and_need_nothing_from_elsewhere(checked: tuple[Workspace, Usability]) -> None:
    _, usability = checked
    first = Path(usability.docs)
    text = first.read_text(encoding="utf-8")
    links = re.findall(r'href="([^"]+)"', text)
    assert len(links) == len(usability.tables) and all((first.parent / link).is_file() for link in links)
    assert "1 order without `amount`" in text and "&lt;b&gt;x&lt;/b&gt;" in text and "<b>x</b>" not in text
    for page in first.parent.rglob("*.html"):
        assert not re.search(r"https?://|<script|<link|<img", page.read_text(encoding="utf-8")), page


def test_the_data_docs_hold_the_pages_of_the_last_check_only(tmp_path: Path) -> None:
    workspace = world(tmp_path, sound())
    quality.check(workspace, NOW)
    last = quality.check(workspace, NOW + MICROSECOND)
    pages = list(Path(last.docs).parent.rglob("*.html"))
    assert len(pages) == 2 * len(last.tables) + 1, "one for each suite, one for each result, and the first"


def test_nothing_is_sent_home(checked: tuple[Workspace, Usability]) -> None:
    workspace, _ = checked
    assert "analytics_enabled: false" in (workspace.quality / "gx" / "great_expectations.yml").read_text(encoding="utf-8")


def _command(workspace: Workspace, *arguments: str) -> Result:
    (workspace.root / "foresell.toml").touch()
    return CliRunner().invoke(foresell.main, ["check", "--workspace", str(workspace.root), *arguments])


def test_the_command_tells_what_is_wrong_and_fails_on_errors(checked: tuple[Workspace, Usability]) -> None:
    result = _command(checked[0])
    assert result.exit_code == 1
    for words in ("1 order without `amount`", "costs", "to mend", "order_id=o-c00", "not usable: 1 error, 1 warning"):
        assert words in result.stdout
    assert "index.html" in result.stderr


def test_the_command_prints_json_and_nothing_else(checked: tuple[Workspace, Usability]) -> None:
    result = _command(checked[0], "--json")
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert (document["usable"], document["errors"][0]["column"], document["tables"]["orders"]) == (False, "amount", 40)


def test_the_command_is_content_with_warnings(tmp_path: Path) -> None:
    result = _command(world(tmp_path, _changed("orders", 1, customer_id="x")))
    assert result.exit_code == 0
    assert "usable: 0 errors, 1 warning" in result.stdout


def test_the_command_accepts_fewer_rows_only_when_told_to(tmp_path: Path) -> None:
    workspace = world(tmp_path, sound())
    catalog = Catalog.load(workspace)
    orders = replace(catalog.tables["orders"], previous_rows=81)
    replace(catalog, tables={**catalog.tables, "orders": orders}).save(workspace)
    refused = _command(workspace)
    assert refused.exit_code == 1
    assert "40 rows where the ingest before had 81" in refused.stdout and "--accept-fewer-rows" in refused.stdout
    assert _command(workspace, "--accept-fewer-rows").exit_code == 0
    assert _command(workspace).exit_code == 0
    quality.require(workspace)


def test_the_command_without_tables_says_what_to_run(tmp_path: Path) -> None:
    result = _command(Workspace(tmp_path, Settings()))
    assert result.exit_code == 1
    assert "foresell ingest" in result.stderr


@pytest.mark.real_data
def test_olist_has_one_deal_dated_before_its_lead(tmp_path: Path, shared_data: Path) -> None:
    from features import ingest

    workspace = Workspace(tmp_path, Settings(adapter="olist", source=str(shared_data / "olist")))
    ingest.run(workspace, NOW)
    assert found(workspace) == {("warning", "leads", "converted_at", "order of times", 1)}


def test_what_a_check_that_broke_off_left_half_written_is_made_anew(tmp_path: Path) -> None:
    workspace = world(tmp_path, sound())
    quality.check(workspace, NOW)
    half = [tmp_path / "data" / "quality" / "gx" / name for name in ("expectations/customers.json", "great_expectations.yml")]
    for path in half:
        path.write_text("")
    (tmp_path / "data" / "quality" / ".writing").touch()
    assert quality.check(workspace, NOW).usable and all(path.stat().st_size for path in half)
    assert not (tmp_path / "data" / "quality" / ".writing").exists()
