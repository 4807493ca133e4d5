from __future__ import annotations

import json
import re
from datetime import timedelta

import numpy as np
import pytest
from mlflow import MlflowClient

from features import snapshot
from features.errors import ContractError, GateError, RegistryError
from features.propensity import load
from features.settings import MlflowSettings, Workspace
from tests.training.conftest import ME, NOW, QUIET
from training import dataset, registry
from training.train import train


def rows(workspace: Workspace, model):
    instants = dataset.as_ofs(workspace, load(workspace, "churn"))[-1:]
    return snapshot.read(workspace, "customer", instants, list(model.columns))


def test_a_workspace_that_never_trained_has_no_store_and_asking_makes_none(make_shop):
    shop = make_shop(customers=5)
    assert registry.champion_version(shop, "churn") is None
    assert registry.newest_version(shop, "churn") is None
    for ask in (registry.champion, registry.report):
        with pytest.raises(RegistryError, match="foresell train churn"):
            ask(shop, "churn")
    with pytest.raises(RegistryError, match="foresell train churn"):
        registry.promote(shop, "churn", ME)
    assert registry.history(shop, "churn") == registry.History((), None)
    with pytest.raises(RegistryError, match="version 1"):
        registry.load(shop, "churn", "1")
    assert not shop.mlruns.exists()


def test_a_trained_model_waits_until_it_is_promoted(trained):
    assert registry.newest_version(trained, "churn") == "1"
    with pytest.raises(RegistryError, match="version 1 waits"):
        registry.champion(trained, "churn")
    assert registry.promote(trained, "churn", ME).event.version == "1"
    assert registry.champion_version(trained, "churn") == "1"
    champion = registry.champion(trained, "churn")
    assert champion.version == "1"
    assert champion.model.propensity == load(trained, "churn")


def test_unknown_versions_are_refused(trained):
    for ask in (registry.load, registry.report):
        with pytest.raises(RegistryError, match="version 7"):
            ask(trained, "churn", "7")
    with pytest.raises(RegistryError, match="version 7"):
        registry.promote(trained, "churn", ME, "7")
    with pytest.raises(RegistryError, match="foresell train upsell"):
        registry.report(trained, "upsell")


def test_a_version_that_failed_a_gate_is_never_promoted(trained):
    question = load(trained, "churn")
    strict = question.model_copy(update={"gates": question.gates.model_copy(update={"min_auc": 0.999})})
    assert train(trained, strict, NOW, QUIET).verdict.word == "fail"
    with pytest.raises(GateError, match=r"AUC 0\.\d+ \(.*\) misses 0\.999") as caught:
        registry.promote(trained, "churn", ME)
    assert caught.value.where == "churn version 2"
    assert registry.champion_version(trained, "churn") is None
    assert registry.promote(trained, "churn", ME, "1").event.version == "1"


def test_mlflow_itself_gives_calibrated_probabilities_and_finds_no_pickle(trained):
    import mlflow

    model = registry.load(trained, "churn", "1").model
    frame = rows(trained, model)
    mlflow.set_tracking_uri(registry.store_uri(trained))
    served = mlflow.pyfunc.load_model("models:/churn/1")
    expected = model.probability(model.matrix(frame))
    assert (np.asarray(served.predict(frame[list(model.columns)])) == expected).all()
    files = [path.name for path in (trained.mlruns / "artifacts").rglob("*") if path.is_file()]
    assert {*model.contract.members, "contract.json", "MLmodel", "report.html", "report.json", "reliability.svg"} <= set(files)
    assert not [name for name in files if name.endswith((".pkl", ".pickle", ".joblib", ".skops"))]


def test_what_is_logged_can_be_read_in_mlflow(trained):
    import mlflow

    client = mlflow.MlflowClient(registry.store_uri(trained))
    version = client.get_model_version("churn", "1")
    run = client.get_run(version.run_id)
    assert version.tags["verdict"] == run.data.tags["verdict"] == "pass"
    assert len(run.data.params["data_fingerprint"]) == 32
    assert {"test_auc", "test_auc_low", "test_lift_at_10pct", "train_auc", "calibration_log_loss"} <= set(run.data.metrics)
    assert client.get_experiment(run.info.experiment_id).name == "churn"
    propensity = json.loads(mlflow.artifacts.load_text(f"{run.info.artifact_uri}/propensity.json"))
    assert propensity == load(trained, "churn").model_dump(mode="json")
    assert client.get_registered_model("churn").description == load(trained, "churn").question


def test_a_stored_model_that_was_tampered_with_is_refused(trained):
    contract = next((trained.mlruns / "artifacts").rglob("contract.json"))
    contract.write_text(contract.read_text().replace("orders_count_90d", "orders_count_91d"))
    with pytest.raises(ContractError):
        registry.load(trained, "churn", "1")


def test_a_store_given_by_setting_is_used_instead(trained, tmp_path):
    elsewhere = MlflowSettings(tracking_uri=f"sqlite:///{trained.mlruns / 'mlflow.db'}")
    other = Workspace(tmp_path / "other", trained.settings.model_copy(update={"mlflow": elsewhere}))
    assert registry.newest_version(other, "churn") == "1"
    assert not other.mlruns.exists()


def child(name: str, **more: object) -> registry.Child:
    began = NOW - timedelta(minutes=5)
    given = {"parameters": {}, "metrics": {}, "tags": {}, "started": began, "ended": NOW, **more}
    return registry.Child(name, **given)


def test_parts_of_a_training_are_runs_nested_in_its_run(trained):
    tried = [
        child("trial 1", parameters={"num_leaves": 6}, metrics={"log_loss": 0.31, "nothing": float("nan")}),
        child("trial 2", tags={"state": "pruned"}),
    ]
    record = registry.Record({}, {}, {}, {"gates": []}, {}, children=tried)
    version = registry.register(trained, registry.load(trained, "churn", "1").model, record)
    api = MlflowClient(registry.store_uri(trained), registry.store_uri(trained))
    parent = api.get_run(api.get_model_version("churn", version).run_id)
    nested = api.search_runs([parent.info.experiment_id], f"tags.mlflow.parentRunId = '{parent.info.run_id}'")
    one, two = sorted(nested, key=lambda run: run.info.run_name)
    assert (one.info.run_name, two.info.run_name, two.data.tags["state"]) == ("trial 1", "trial 2", "pruned")
    assert (one.data.params, one.data.metrics) == ({"num_leaves": "6"}, {"log_loss": 0.31})
    assert (one.info.status, one.info.end_time - one.info.start_time) == ("FINISHED", 300_000)


def test_a_run_names_the_rows_it_learned_from_without_holding_them(trained):
    uri = registry.store_uri(trained)
    run = MlflowClient(uri, uri).get_run(MlflowClient(uri, uri).get_model_version("churn", "1").run_id)
    contract = registry.load(trained, "churn", "1").model.contract
    inputs = {found.tags[0].value: found.dataset for found in run.inputs.dataset_inputs}
    assert set(inputs) == {"training", "calibration", "test"}
    test = inputs["test"]
    assert (test.name, test.digest) == ("churn test", contract.fingerprint)
    assert json.loads(test.profile) == {
        "num_rows": contract.windows["test"].rows,
        "positives": contract.windows["test"].positives,
    }
    columns = [column["name"] for column in json.loads(test.schema)["mlflow_colspec"]]
    assert columns == [column.name for column in contract.features]


def test_a_version_and_its_run_are_described_in_words(trained):
    uri = registry.store_uri(trained)
    version = MlflowClient(uri, uri).get_model_version("churn", "1")
    document, _ = registry.report(trained, "churn", "1")
    assert re.fullmatch(r"pass: AUC 0\.\d{3} \(0\.\d{3} to 0\.\d{3}\), tested 20[\d-]{8} to 20[\d-]{8}", version.description)
    note = MlflowClient(uri, uri).get_run(version.run_id).data.tags["mlflow.note.content"]
    assert version.description in note and document["question"] in note
    assert all(f"* passed: {gate['sentence']}" in note for gate in document["gates"])
