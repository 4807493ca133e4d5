"""An adapter is found by name or path, its files are checked, and a workspace's settings come before its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from features import propensity
from features.adapter import Adapter, shipped
from features.errors import TableError, WorkspaceError
from features.settings import Settings
from features.tables import TABLES
from tests.features.export_files import export, rows, run


def own(root: Path, toml: str = 'description = "ours"\n', **scripts: str) -> Path:
    """An adapter folder `crm` in a workspace."""
    folder = root / "crm"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter.toml").write_text(toml)
    for table, sql in scripts.items():
        (folder / f"{table}.sql").write_text(sql)
    return folder


def find(root: Path) -> Adapter:
    return Adapter.find(root, Settings.model_validate({"adapter": "crm"}))


CUSTOMERS_SQL = "select customer_id, created_at from customers"


@pytest.mark.parametrize("name", shipped())
def test_shipped_adapters_read_well(name: str, tmp_path: Path) -> None:
    settings = Settings.model_validate({"adapter": name})
    adapter = Adapter.find(tmp_path, settings)
    scripts = adapter.scripts()
    assert scripts and set(adapter.file.required) <= {script.table for script in scripts}
    assert set(adapter.attributes(settings)) <= set(TABLES)
    assert all(attribute.meaning for columns in adapter.file.attributes.values() for attribute in columns.values())


def test_the_canonical_adapter_has_every_table(tmp_path: Path) -> None:
    scripts = Adapter.find(tmp_path, Settings.model_validate({})).scripts()
    assert {script.table: script.stems for script in scripts} == {table: {table} for table in TABLES}


def test_a_folder_of_the_workspace_is_an_adapter(tmp_path: Path) -> None:
    folder = own(
        tmp_path, 'description = "ours"\nnow = "2024-05-01"\n', customers=CUSTOMERS_SQL + " where customer_id != 'c2';\n-- end"
    )
    (folder / "propensities").mkdir()
    (folder / "propensities" / "churn.toml").write_text("")
    workspace = export(tmp_path, {}, adapter="crm")
    catalog = run(workspace)
    assert [row[0] for row in rows(workspace, catalog, "customers", "customer_id")] == ["c1", "c3"]
    assert catalog.observed_until == "2024-05-01T00:00:00+00:00"
    assert propensity.propensity_files(tmp_path, workspace.settings)["churn"] == folder / "propensities" / "churn.toml"


def test_an_unknown_adapter_is_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="write `olist`"):
        Adapter.find(tmp_path, Settings.model_validate({"adapter": "oliste"}))


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ('descripton = "ours"', "descripton"),
        ('description = "ours"\nrequired = ["customer"]', "rename it to `customers`"),
        ('description = "ours"\n[attributes.order]\nx = { fixed = true }', "rename it to `orders`"),
        ('description = "ours"\n[ingest]\ndecimals = ","', "ingest.decimals"),
        ('description = "ours', "TOML"),
    ],
)
def test_a_wrong_adapter_file_is_refused(tmp_path: Path, toml: str, said: str) -> None:
    own(tmp_path, toml)
    with pytest.raises(WorkspaceError, match=said):
        find(tmp_path)


def test_a_script_of_no_table_is_refused(tmp_path: Path) -> None:
    own(tmp_path, costumers=CUSTOMERS_SQL)
    with pytest.raises(WorkspaceError, match="rename it to `customers`"):
        find(tmp_path)


@pytest.mark.parametrize("sql", ["selec 1", "select 1; select 2", "drop table customers", ""])
def test_a_script_is_one_select(tmp_path: Path, sql: str) -> None:
    own(tmp_path, customers=sql)
    with pytest.raises(TableError, match=r"crm/customers\.sql"):
        find(tmp_path).scripts()


def test_a_script_reads_files_wherever_they_are_named(tmp_path: Path) -> None:
    sql = (
        'with c as (from "Account-2024") select * from c left join b using (id) where exists (from d) union all (select * from e)'
    )
    own(tmp_path, customers=sql)
    assert find(tmp_path).scripts()[0].stems == {"Account-2024", "b", "d", "e"}


@pytest.mark.parametrize(
    ("sql", "stems"),
    [
        ("with customers as (select * from customers) select * from customers", {"customers"}),
        ("with Customers as (select * from CRM) select * from customers", {"CRM"}),
        ("with a as (select * from b), b as (select * from c) select * from a, b", {"b", "c"}),
        ("with recursive n as (select 1 as i union all select i + 1 from n where i < 3) select * from n, d", {"d"}),
        ("select * from (with a as (select 1) select * from a) cross join a", {"a"}),
        ("with a as (select 1) select * from (with b as (select * from a) select * from b) where exists (from b)", {"b"}),
    ],
)
def test_a_name_of_a_with_clause_is_no_file_where_it_holds(tmp_path: Path, sql: str, stems: set[str]) -> None:
    own(tmp_path, customers=sql)
    assert find(tmp_path).scripts()[0].stems == stems


def test_a_with_clause_may_be_named_as_the_file_it_reads(tmp_path: Path) -> None:
    own(tmp_path, customers="with customers as (select * from customers where customer_id != 'c2') select * from customers")
    workspace = export(tmp_path, {}, adapter="crm")
    assert rows(workspace, run(workspace), "customers", "customer_id") == [("c1",), ("c3",)]


def test_a_column_that_no_file_has_is_refused_with_the_nearest(tmp_path: Path) -> None:
    own(tmp_path, customers="select c.customer_id, c.create_at as created_at from customers c")
    with pytest.raises(TableError, match="rename `created_at` to `create_at`") as caught:
        run(export(tmp_path, {}, adapter="crm"))
    assert "customers.csv, read by crm/customers.sql" in caught.value.where


def test_sql_that_fails_is_refused_by_its_script(tmp_path: Path) -> None:
    own(tmp_path, customers="select customer_id, cast(customer_id as timestamp) as created_at from customers")
    with pytest.raises(TableError, match=r"crm/customers\.sql") as caught:
        run(export(tmp_path, {}, adapter="crm"))
    assert "invalid timestamp" in caught.value.received


def test_a_required_table_needs_its_files(tmp_path: Path) -> None:
    own(tmp_path, 'description = "ours"\nrequired = ["orders"]', customers=CUSTOMERS_SQL, orders="select * from sales_2024")
    with pytest.raises(TableError, match=r"a file `sales_2024` in any format, which crm/orders\.sql reads"):
        run(export(tmp_path, {}, adapter="crm"))


def test_foresell_toml_overrides_the_adapter_key_by_key(tmp_path: Path) -> None:
    own(
        tmp_path,
        'description = "ours"\n[ingest]\ntimezone = "Europe/Berlin"\nduplicates = "merge"\n'
        "[attributes.customers]\na = { fixed = true }\nb = { fixed = true }\n",
    )
    settings = Settings.model_validate(
        {"adapter": "crm", "ingest": {"duplicates": "reject"}, "attributes": {"customers": {"b": {"type": "number"}}}}
    )
    adapter = Adapter.find(tmp_path, settings)
    assert (adapter.rules(settings).timezone, adapter.rules(settings).duplicates) == ("Europe/Berlin", "reject")
    attributes = adapter.attributes(settings)["customers"]
    assert (attributes["a"].fixed, attributes["b"].fixed, attributes["b"].type) == (True, False, "number")


def test_hooks_of_the_adapter_are_overridden_key_by_key_and_source_by_source(tmp_path: Path) -> None:
    toml = """
description = "ours"
[hooks.odoo]
shape = "odoo"
entity = "lead"
fields = { origin = "source_id" }
[hooks.plain]
entity = "customer"
"""
    own(tmp_path, toml, customers=CUSTOMERS_SQL)
    adapter = find(tmp_path)
    settings = {"odoo": {"entity": "lead", "flags": ["x_opt_in"]}, "espocrm": {"entity": "lead", "shape": "espocrm"}}
    hooks = adapter.hooks(Settings.model_validate({"adapter": "crm", "hooks": settings}))
    assert sorted(hooks) == ["espocrm", "odoo", "plain"]
    odoo = hooks["odoo"]
    assert (odoo.shape, odoo.fields, odoo.flags) == ("odoo", {"origin": "source_id"}, ("x_opt_in",))
    assert adapter.hooks(Settings())["odoo"].flags == () and hooks["plain"].entity == "customer"
    replaced = {"odoo": {"entity": "lead", "fields": {"status": "stage_id"}}}
    assert adapter.hooks(Settings.model_validate({"hooks": replaced}))["odoo"].fields == {"status": "stage_id"}


def test_a_hook_with_an_unknown_key_is_refused(tmp_path: Path) -> None:
    own(tmp_path, 'description = "ours"\n[hooks.odoo]\nentity = "lead"\nsecrt = "x"\n', customers=CUSTOMERS_SQL)
    with pytest.raises(WorkspaceError, match=r"hooks\.odoo\.secrt"):
        find(tmp_path)
