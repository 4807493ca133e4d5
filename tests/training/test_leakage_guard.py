"""The guard over a shop: what stops a training, what a waiver lets pass, and what `foresell check --propensity` says."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from features.catalog import Catalog
from features.database import connect
from features.errors import LeakageError, PropensityError
from features.propensity import load
from features.settings import Attribute, Workspace
from foresell import main
from tests.training.conftest import NOW, QUESTION, QUIET
from training import dataset, registry
from training.leakage.finding import Finding
from training.leakage.guard import guard, guard_tables, require_clean
from training.leakage.waiver import waived
from training.train import train


def leaking(shop: Workspace) -> Workspace:
    """The shop with a column that somebody filled in once a customer had stayed away: `farewell`."""
    catalog = Catalog.load(shop)
    path, until = catalog.path(shop, "customers"), pd.Timestamp(NOW).tz_localize(None) - pd.Timedelta(days=30)
    people, orders = pd.read_parquet(path), pd.read_parquet(catalog.path(shop, "orders"))
    newest = people["customer_id"].map(orders.groupby("customer_id")["occurred_at"].max())
    people["farewell"] = pd.Series("card", index=people.index).where(newest < until)
    people.to_parquet(path)
    catalog.attributes["customers"]["farewell"] = Attribute(fixed=True)
    catalog.tables["customers"].columns["farewell"] = "VARCHAR"
    catalog.save(shop)
    return shop


@pytest.fixture(scope="module")
def leaking_once(make_shop) -> Workspace:
    return leaking(make_shop(seed=11))


def waive(shop: Workspace, lines: str) -> None:
    (shop.own_propensities / "churn.toml").write_text(f"{QUESTION}\n[waivers]\n{lines}\n")


@pytest.fixture
def shop(leaking_once: Workspace) -> Workspace:
    (leaking_once.own_propensities / "churn.toml").write_text(QUESTION)
    return leaking_once


def call(workspace: Workspace, *words: str, code: int = 0) -> Result:
    done = CliRunner().invoke(main, [*words, "--workspace", str(workspace.root)])
    assert done.exit_code == code, done.output
    return done


def test_a_leak_stops_the_training_with_evidence_repair_and_how_to_waive(shop):
    with pytest.raises(LeakageError) as caught:
        train(shop, load(shop, "churn"), NOW, QUIET)
    assert "customer_farewell is filled for" in caught.value.received
    assert "adapter.toml: `customers.farewell` is not fixed at creation" in caught.value.repair
    assert '[waivers] in the propensity file: "fill:customer_farewell" = "why"' in caught.value.repair
    assert not shop.mlruns.exists(), "nothing was registered"


def test_a_waiver_lets_one_pass_and_stands_in_the_report(shop):
    waive(shop, '"fill:customer_farewell" = "The card is sent by the season."\n"name:customer_knid" = "As was agreed."')
    question = load(shop, "churn")
    findings = guard(shop, question, dataset.prepare(shop, question, QUIET))
    require_clean(findings, question)
    trained = train(shop, question, NOW, QUIET)
    document, page = registry.report(shop, "churn", trained.version)
    [entry] = [finding for finding in document["leakage"] if finding["place"] == "customer_farewell"]
    assert (entry["severity"], entry["waived"]) == ("error", "The card is sent by the season.")
    assert "customer_farewell is filled for" in page and "The card is sent by the season." in page
    [unused] = [finding for finding in document["leakage"] if finding["check"] == "waiver"]
    assert unused["place"] == "name:customer_knid" and unused["severity"] == "warning"


@pytest.mark.parametrize(
    "line", ['"fill:customer_farewell" = ""', '"fill:customer_farewell" = "  "', '"customer_farewell" = "So."']
)
def test_a_waiver_needs_a_check_and_a_reason(shop, line):
    waive(shop, line)
    with pytest.raises(PropensityError, match="waivers"):
        load(shop, "churn")


FINDING = Finding("fill", "error", "lead_won_by", "lead_won_by is filled ...", "leads.sql:3: remove it")


def test_a_waiver_names_what_was_found():
    [finding] = waived([FINDING], {"fill:lead_won_by": "It is the desk."}, "p.toml")
    assert (finding.waived, finding.stops, FINDING.stops) == ("It is the desk.", False, True)
    assert waived([FINDING], {}, "p.toml") == (FINDING,)


@pytest.mark.parametrize(
    ("key", "words", "repair"),
    [
        ("fill:lead_won_bye", "nothing of that name was found", "p.toml: write `fill:lead_won_by`"),
        ("filled:lead_source", "there is no check 'filled'", "p.toml: remove the line"),
        ("single:customer_x", "nothing of that name was found", "p.toml: remove the line"),
    ],
)
def test_a_waiver_that_waives_nothing_is_reported(key, words, repair):
    kept, unused = waived([FINDING], {key: "Because."}, "p.toml")
    assert kept == FINDING
    assert (unused.check, unused.severity, unused.place) == ("waiver", "warning", key)
    assert words in unused.sentence and unused.repair.startswith(repair)


def test_nothing_found_stops_nothing(shop):
    require_clean((), load(shop, "churn"))


def test_check_prints_every_finding_and_ends_with_one_on_an_error(shop):
    shown = call(shop, "check", "--propensity", "churn", code=1)
    assert "usable: 0 errors" in shown.stdout, "the tables come first"
    assert "fill:customer_farewell" in shown.stdout and "is filled for" in shown.stdout.replace("\n", " ")
    assert "known_at:orders.known_at" in shown.stdout
    assert "1 error" in shown.stdout and "train refuses" in shown.stdout


def test_check_as_json_is_one_document(shop):
    document = json.loads(call(shop, "check", "--propensity", "churn", "--json", code=1).stdout)
    assert document["usable"] and document["propensity"] == "churn"
    worst = document["leakage"][0]
    assert set(worst) == {"check", "severity", "place", "sentence", "repair", "waived"}
    assert (worst["check"], worst["severity"], worst["place"]) == ("fill", "error", "customer_farewell")
    waive(shop, '"fill:customer_farewell" = "The card is sent by the season."')
    document = json.loads(call(shop, "check", "--propensity", "churn", "--json").stdout)
    assert document["leakage"][-1]["waived"] == "The card is sent by the season.", "what is waived comes last"


def test_check_without_a_propensity_looks_at_the_tables_alone(shop):
    document = json.loads(call(shop, "check", "--json").stdout)
    assert "leakage" not in document and document["usable"]


def test_check_of_unusable_tables_goes_no_further(make_shop):
    broken = make_shop(customers=20)
    orders = Catalog.load(broken).path(broken, "orders")
    frame = pd.read_parquet(orders)
    pd.concat([frame, frame.head(5)]).to_parquet(orders)
    document = json.loads(call(broken, "check", "--propensity", "churn", "--json", code=1).stdout)
    assert not document["usable"] and "leakage" not in document
    assert not broken.snapshots.exists()


def test_check_says_what_the_tables_show_when_no_dataset_can_be_made(make_shop):
    """Everything was loaded yesterday, so that no as_of sees anybody: the reason comes before the complaint."""
    loaded = make_shop(customers=20)
    for name in ("customers", "orders"):
        path = Catalog.load(loaded).path(loaded, name)
        with connect(loaded) as connection:
            connection.execute(f"create table rows as select * replace (timestamp '2023-12-31' as known_at) from '{path}'")
            connection.execute(f"copy rows to '{path}' (format parquet)")
    shown = call(loaded, "check", "--propensity", "churn", code=1)
    assert "known_at:orders.known_at" in shown.stdout and "DataFloorError" in shown.stderr
    document = json.loads(call(loaded, "check", "--propensity", "churn", "--json", code=1).stdout)
    assert [finding["check"] for finding in document["leakage"]] == ["known_at"]
    assert document["error"]["error"] == "DataFloorError"
    assert guard_tables(loaded, load(loaded, "churn"))[0].severity == "warning"


def test_check_of_an_unknown_propensity_is_a_wrong_call(shop):
    assert "one of churn" in call(shop, "check", "--propensity", "chrun", code=2).stderr


def test_eligibility_by_what_came_later_is_found(shop):
    """Who is asked about depends on the card that only those get who stay away."""
    question = load(shop, "churn").model_copy(update={"eligible": ("orders_count_90d >= 1", "customer_farewell is null")})
    findings = guard(shop, question, dataset.prepare(shop, question, QUIET))
    [chosen] = [finding for finding in findings if finding.check == "population"]
    assert (chosen.severity, chosen.place) == ("error", "customer_farewell")
    assert "`customer_farewell is null` in `eligible` lets in" in chosen.sentence
    assert "customers.farewell" in chosen.repair


def test_an_honest_shop_is_clean(trained_once):
    question = load(trained_once, "churn")
    findings = guard(trained_once, question, dataset.prepare(trained_once, question, QUIET))
    assert [finding for finding in findings if finding.severity == "error"] == []
    require_clean(findings, question)
