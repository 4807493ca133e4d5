from __future__ import annotations

import json
import sys

import click
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from features.catalog import Catalog
from features.settings import Workspace
from foresell import main
from tests.training.conftest import QUESTION
from tests.training.test_registry_promotion import add
from training import registry


def call(workspace: Workspace, *words: str, code: int = 0) -> Result:
    done = CliRunner().invoke(main, [*words, "--workspace", str(workspace.root)])
    assert done.exit_code == code, done.output
    return done


def rewrite_report(workspace: Workspace, old: str, new: str) -> None:
    """Put other text into the stored report of the one version there is."""
    [stored] = (workspace.mlruns / "artifacts").rglob("report.json")
    assert old in stored.read_text()
    stored.write_text(stored.read_text().replace(old, new))


@pytest.fixture
def opened(monkeypatch) -> list[str]:
    """What was opened in the browser."""
    found: list[str] = []
    monkeypatch.setattr(click, "launch", found.append)
    return found


def test_report_prints_figures_and_writes_the_page(trained, opened):
    done = call(trained, "report", "churn")
    assert "ROC AUC" in done.stdout and "Will this customer order nothing" in done.stdout
    page = (trained.reports / "churn.html").read_text()
    assert "version 1" in page and page.count("<svg") >= 7
    assert opened == [], "nobody sits at a pipe"
    assert "shadow" not in done.stderr
    beside = trained.reports / "churn" / "shadow.html"
    beside.parent.mkdir()
    beside.touch()
    assert str(beside) in call(trained, "report", "churn").stderr.replace("\n", "")


def test_report_opens_the_page_for_a_person_unless_told_not_to(trained, opened, monkeypatch):
    from training.commands import report

    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    page = (trained.reports / "churn.html").as_uri()
    for words, expected in (([], [page]), (["--no-open"], []), (["--json"], []), (["--json", "--open"], [page])):
        opened.clear()
        report.main(["churn", *words, "--workspace", str(trained.root)], standalone_mode=False)
        assert opened == expected, words


def test_report_of_an_older_version_has_a_page_of_its_own(trained):
    call(trained, "report", "churn", "--version", "1")
    assert sorted(path.name for path in trained.reports.iterdir()) == ["churn-1.html", "churn-1.md"]


def test_brackets_in_a_report_are_printed_as_they_were_written(trained):
    document, _ = registry.report(trained, "churn")
    sentences = [document["question"], document["gates"][0]["sentence"], document["split"]["sentences"][0],
                 document["backtest"]["sentences"][0]]  # fmt: skip
    for sentence in sentences:
        rewrite_report(trained, json.dumps(sentence)[1:-1], json.dumps(f"[/x] {sentence[:20]}")[1:-1])
    told = call(trained, "report", "churn").stdout
    assert all(f"[/x] {sentence[:20]}" in told for sentence in sentences)


def test_report_of_a_version_of_an_older_release_says_to_train_again(trained):
    for lacking in ('"brier"', '"backtest"'):
        rewrite_report(trained, lacking, '"another"')
        refused = call(trained, "report", "churn", code=1).stderr
        assert lacking.strip('"') in refused and "older release" in refused and "train again" in refused
    [card] = (trained.mlruns / "artifacts").rglob("card.md")
    card.unlink()
    refused = call(trained, "report", "churn", "--json", code=1).stderr
    assert "report/card.md" in refused and "train again" in refused and "start the server" not in refused
    assert not trained.reports.exists() or not list(trained.reports.iterdir()), "nothing is written in part"


def test_report_as_json_is_one_document_with_the_stable_keys(trained):
    document = json.loads(call(trained, "report", "churn", "--json").stdout)
    assert {"propensity", "version", "champion", "verdict"} <= set(document)
    assert {"auc", "auc_low", "auc_high", "pr_auc", "log_loss", "brier", "calibration_error", "lift_at_10pct", "rows",
            "positives", "from", "to"} <= set(document["test"])  # fmt: skip
    assert (document["version"], document["champion"]) == ("1", None)


def test_promote_says_that_a_running_service_keeps_its_version(trained):
    assert "answers with it within five seconds" in call(trained, "promote", "churn").stderr
    add(trained)
    promoted = json.loads(call(trained, "promote", "churn", "--json").stdout)
    assert promoted == {"propensity": "churn", "champion": "2", "before": "1", "event": 2, "written": True}


def test_promoting_the_champion_says_that_it_serves_already_and_that_nothing_was_written(trained):
    call(trained, "promote", "churn")
    [event] = registry.history(trained, "churn").entries
    done = call(trained, "promote", "churn", "--force", "a reason that is not kept", "--json")
    assert f"version 1 already serves, since {event.since:%Y-%m-%d %H:%M:%S} UTC; nothing was written" in done.stderr
    assert "in place of" not in done.stderr and "within five seconds" not in done.stderr
    assert json.loads(done.stdout) == {"propensity": "churn", "champion": "1", "before": None, "event": 1, "written": False}


def test_a_broken_propensity_file_stops_no_rollback(trained):
    (trained.own_propensities / "churn.toml").write_text(QUESTION + "\nnonsense = [")
    call(trained, "promote", "churn", "--version", "1")
    call(trained, "report", "churn")
    call(trained, "train", "churn", code=2)


def test_wrong_calls_end_with_two_and_failed_work_with_one(trained):
    assert "one of churn" in call(trained, "promote", "chrun", code=2).stderr
    assert "one of churn" in call(trained, "report", "chrun", code=2).stderr
    assert "--all" in call(trained, "train", code=2).stderr
    assert "version 7" in call(trained, "promote", "churn", "--version", "7", code=1).stderr


def test_tables_with_errors_are_not_trained_on(make_shop):
    shop = make_shop(customers=20)
    orders = Catalog.load(shop).path(shop, "orders")
    frame = pd.read_parquet(orders)
    pd.concat([frame, frame.head(5)]).to_parquet(orders)
    done = call(shop, "train", "churn", code=1)
    assert "QualityError" in done.stderr and "orders" in done.stderr
    assert not shop.mlruns.exists()


def test_train_all_skips_what_the_tables_cannot_answer(trained):
    done = json.loads(call(trained, "train", "--all", "--json").stdout)
    assert [made["propensity"] for made in done["trained"]] == ["churn"]
    assert done["skipped"] == {
        "lead-conversion": "the table `leads` is not there",
        "upsell": "the table `subscriptions` is not there",
    }
    assert done["failed"] == {}
