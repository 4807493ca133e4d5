from __future__ import annotations

from features.catalog import Catalog
from features.settings import Attribute as Declared
from features.settings import Settings
from features.views import views
from tests.worlds import make_workspace
from training.leakage.origin import Attribute, declared_at, declared_attributes, event_repairs, known_at_line, selected_at

SQL = """-- source is where they came from
select
    id as lead_id,
    "Created On" as created_at,  -- source
    channel as source,
    budget,
    'x' as budget_class
from (select * from leads)
"""


def test_the_line_of_a_declaration_is_found_in_either_form(tmp_path):
    adapter, workspace = tmp_path / "adapter.toml", tmp_path / "foresell.toml"
    adapter.write_text("[attributes.customers]\nsegment = {}\n[attributes.leads]\norigin = { fixed = true }\nsegment = {}\n")
    workspace.write_text(
        "\n[attributes.leads.score]\nfixed = true\n[external.usage]\npath = 'x'\n[external.usage.columns]\nlogins = {}\n"
    )
    files = [adapter, workspace]
    assert declared_at(files, "attributes.leads", "segment") == "adapter.toml:5"
    assert declared_at(files, "attributes.customers", "segment") == "adapter.toml:2"
    assert declared_at(files, "attributes.leads", "score") == "foresell.toml:2"
    assert declared_at(files, "external.usage.columns", "logins") == "foresell.toml:7"
    assert declared_at(files, "attributes.leads", "nowhere") == "adapter.toml"
    assert declared_at([], "attributes.leads", "nowhere") == "adapter.toml"


def test_the_line_that_selects_a_column_is_found_where_it_gets_its_name(tmp_path):
    script = tmp_path / "leads.sql"
    script.write_text(SQL)
    assert selected_at(script, "source") == "leads.sql:5", "not the comments"
    assert selected_at(script, "created_at") == "leads.sql:4"
    assert selected_at(script, "budget") == "leads.sql:6", "not `budget_class`"
    assert selected_at(script, "known_at") == "leads.sql", "nothing names it"
    assert selected_at(tmp_path / "orders.sql", "amount") == ""


def test_attributes_times_and_external_columns_know_their_lines(tmp_path):
    fixed = {"region": Declared(fixed=True), "signed_at": Declared(type="timestamp", fixed=True)}
    usage = {"entity": "customer", "path": "u.parquet", "id": "id", "timestamp": "at", "columns": {"logins": {"type": "number"}}}
    make_workspace(tmp_path, {"customers": [{"customer_id": "c", "created_at": "2020-01-01"}]}, attributes={"customers": fixed})
    settings = Settings(adapter="mine", external={"usage": usage})
    workspace = make_workspace(
        tmp_path, {"customers": [{"customer_id": "c", "created_at": "2020-01-01"}]},
        attributes={"customers": fixed}, settings=settings,
    )  # fmt: skip
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "adapter.toml").write_text("[attributes.customers]\nregion = { fixed = true }\n")
    (tmp_path / "mine" / "customers.sql").write_text("select\n  since as created_at,\n  area as region,\n  signed_at\nfrom c\n")
    (tmp_path / "foresell.toml").write_text("[external.usage.columns]\nlogins = { type = 'number' }\n")
    catalog = Catalog.load(workspace)
    present = views(workspace, catalog)
    places = declared_attributes(workspace, catalog, present)
    assert places["customer_region"] == Attribute("customers.region", "adapter.toml:2", selected="customers.sql:3")
    assert places["customer_signed_at_days"] == Attribute(
        "customers.signed_at", "adapter.toml", time=True, selected="customers.sql:4"
    )
    assert places["usage_logins"] == Attribute("usage.logins", "foresell.toml:2", external=True)
    assert [place.lasting for place in places.values()] == [True, False, False]
    assert event_repairs(workspace, present)["customer_age_days"].startswith("customers.sql:2: give the rows behind")
    assert known_at_line(workspace, "orders") == "orders.sql", "there is no script"
