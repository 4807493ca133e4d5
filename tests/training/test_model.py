from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from features.errors import ContractError
from training.boosting import learn
from training.calibration import Calibration
from training.contract import Contract, Window
from training.examples import Examples
from training.model import CONTRACT_FILE, Model

QUESTION = {
    "name": "churn", "question": "Will they leave?", "entity": "customer", "horizon": "90d",
    "outcome": {"absent": "orders"},
}  # fmt: skip
DTYPES = {"recency": "number", "plan": "category", "visits": "number", "city": "category"}


def customers(rows: int = 1_500, seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "entity_id": [f"C{n}" for n in range(rows)],
            "recency": np.where(random.random(rows) < 0.2, np.nan, random.exponential(30, rows)),
            "plan": random.choice(np.array(["basic", "plus", "gold", None], dtype=object), rows, p=[0.5, 0.3, 0.1, 0.1]),
            "visits": random.poisson(3, rows).astype(float),
            "city": random.choice(np.array([f"town {n}" for n in range(300)], dtype=object), rows),
        }
    )


@pytest.fixture(scope="module")
def model() -> Model:
    frame = customers()
    random = np.random.default_rng(1)
    risk = 1 / (1 + np.exp(1.5 - frame["recency"].fillna(60) / 30 - (frame["plan"] == "gold")))
    learned = learn(Examples.of(frame, (random.random(len(frame)) < risk).astype(np.int8), DTYPES), cross_fit=False)
    contract = Contract(
        propensity=QUESTION,
        candidate="lightgbm",
        members=("model.txt",),
        features=learned.features,
        calibration=Calibration(method="platt", x=(0.0,), y=(-0.1,), below=0.9, above=0.9),
        reference=tuple(np.linspace(0.1, 0.9, 1_001).tolist()),
        fingerprint="f",
        windows={"test": Window(first="2018-01-01", last="2018-01-01", rows=1, positives=1)},
    )
    return Model(contract, learned.predictor)


def test_one_record_is_encoded_and_scored_as_among_many_to_the_bit(model):
    frame = customers(400, seed=9)
    frame.loc[0, "plan"] = "platinum"
    frame["city"] = frame["city"].where(frame.index % 7 != 0, None)
    matrix = model.matrix(frame)
    together, contributions = model.probability(matrix), model.foreseen(matrix).contributions
    for position, values in enumerate(frame.to_dict("records")):
        row = model.rows([values])
        assert row.tobytes() == matrix[position : position + 1].tobytes()
        assert model.probability(row)[0] == together[position]
        assert (model.foreseen(row).contributions[0] == contributions[position]).all()


def test_contributions_add_up_to_the_raw_score(model):
    matrix = model.matrix(customers(500, seed=3))
    contributions = model.foreseen(matrix).contributions
    assert contributions.shape == (500, len(DTYPES) + 1)
    np.testing.assert_allclose(contributions.sum(axis=1), model.raw(matrix), atol=1e-9)


def test_saved_and_loaded_it_says_the_same_to_the_bit(model, tmp_path):
    model.save(tmp_path)
    again = Model.load(tmp_path)
    frame = customers(300, seed=4)
    assert again.contract == model.contract
    assert (again.probability(again.matrix(frame)) == model.probability(model.matrix(frame))).all()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["contract.json", "model.txt"]


def test_the_propensity_comes_back_whole(model):
    assert model.propensity.horizon.days == 90
    assert model.propensity.outcome.absent == "orders"


def test_columns_may_come_in_any_order_and_with_others(model):
    frame = customers(50, seed=5)
    shuffled = frame.assign(more="x")[["more", *frame.columns[::-1]]]
    assert model.matrix(shuffled).tobytes() == model.matrix(frame).tobytes()


def test_a_missing_or_renamed_column_is_shown_as_a_line_diff(model):
    with pytest.raises(ContractError) as caught:
        model.matrix(customers(5).rename(columns={"recency": "recency_days"}))
    assert "- recency: number" in caught.value.received
    assert "+ recency_days" in caught.value.received


def test_text_in_a_number_column_is_refused_in_a_frame_and_in_a_record(model):
    frame = customers(5).astype({"visits": object}).assign(visits="many")
    with pytest.raises(ContractError, match=r"- visits: number"):
        model.matrix(frame)
    with pytest.raises(ContractError, match=r"- visits: number"):
        model.rows([frame.iloc[0].to_dict()])


def test_a_number_in_a_category_column_is_refused_in_a_frame_and_in_a_record(model):
    frame = customers(5).assign(plan=3.0)
    with pytest.raises(ContractError, match=r"- plan: category"):
        model.matrix(frame)
    with pytest.raises(ContractError, match=r"- plan: category"):
        model.rows([frame.iloc[0].to_dict()])


def test_a_record_without_a_feature_is_refused(model):
    with pytest.raises(ContractError, match=r"- city: category"):
        model.rows([{"recency": 1.0, "plan": "basic", "visits": 2.0}])


def test_an_empty_column_is_missing_whatever_its_type(model):
    frame = customers(5).assign(plan=np.nan, recency=None)
    assert np.isnan(model.matrix(frame)[:, :2]).all()


def test_rare_and_unseen_categories_are_one_other_and_missing_is_not(model):
    frame = customers(3).assign(plan=["platinum", "never heard of", None])
    codes = model.matrix(frame)[:, 1]
    assert codes[0] == codes[1] == 3.0
    assert np.isnan(codes[2])
    assert model.unseen(model.matrix(frame.assign(city=None))) == [("plan",), ("plan",), ()]
    assert model.unseen(model.matrix(frame.assign(city="never heard of"))) == [("plan", "city"), ("plan", "city"), ("city",)]
    assert 0 < len(model.contract.features[3].categories) <= 200


def test_percentile_is_the_share_of_the_reference_below(model):
    assert model.percentile(np.array([0.0, 0.1, 0.5, 0.9, 1.0])).tolist() == pytest.approx([0, 0, 0.5, 1, 1], abs=0.001)


def test_equal_rows_give_an_equal_model(model):
    frame = customers(600, seed=2)
    labels = (frame["visits"] > 3).to_numpy(np.int8)
    first, again = (learn(Examples.of(frame, labels, DTYPES), cross_fit=True) for _ in range(2))
    assert first.predictor.files() == again.predictor.files()
    assert (first.out_of_fold == again.out_of_fold).all()


def test_a_contract_of_another_format_or_of_another_model_is_refused(model, tmp_path):
    model.save(tmp_path)
    contract = (tmp_path / CONTRACT_FILE).read_text()
    (tmp_path / CONTRACT_FILE).write_text(contract.replace('"format": 2', '"format": 1'))
    with pytest.raises(ContractError, match="of format 2"):
        Model.load(tmp_path)
    (tmp_path / CONTRACT_FILE).write_text(contract.replace('"recency"', '"recently"'))
    with pytest.raises(ContractError, match=r"\+ recency"):
        Model.load(tmp_path)
    with pytest.raises(ContractError, match=r"contract\.json"):
        Model.load(tmp_path / "nowhere")
