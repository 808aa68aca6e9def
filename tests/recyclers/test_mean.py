import json

import numpy as np
import pytest

from prompt_tuning_recycling import RecyclingError, recyclers


def test_it_is_the_mean(source_table, target_table, prompt):
    members = (recyclers.Procrustes(), recyclers.Sparse(k=2), recyclers.Local())
    fitted = recyclers.Mean(members).fit(source_table, target_table).map
    each = [m.fit(source_table, target_table).map.apply(prompt) for m in members]
    np.testing.assert_allclose(
        fitted.apply(prompt), np.mean(each, axis=0), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(
    "given",
    [
        ("procrustes", "sparse"),
        ["procrustes", recyclers.Sparse()],
        [{"name": "procrustes"}, {"name": "sparse", "parameters": {"k": 4}}],
    ],
)
def test_members_may_be_said_in_any_way(given):
    expected = recyclers.Mean((recyclers.Procrustes(), recyclers.Sparse()))
    made = recyclers.Mean(given)
    assert made == expected
    assert hash(made) == hash(expected)


def test_its_parameters_survive_json():
    mean = recyclers.Mean((recyclers.Sparse(k=2), recyclers.Mean(["copy"])))
    parameters = json.loads(json.dumps(mean.parameters()))
    assert recyclers.Mean(**parameters) == mean
    assert parameters == mean.parameters()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((), "a list of at least one recycler"),
        ("procrustes", "a list of at least one recycler"),
        (3, "a list of at least one recycler"),
        (["procruste"], "no recycler 'procruste'. Did you mean procrustes"),
        ([3], "expected a recycler or its name"),
        ([{"parameters": {}}], '"parameters"'),
        ([{"name": "sparse", "k": 3}], "found {'name': 'sparse', 'k': 3}"),
        ([{"name": "sparse", "parameters": {"n": 3}}], "no parameter 'n'"),
    ],
)
def test_members_that_are_none(given, message):
    with pytest.raises(RecyclingError, match=message):
        recyclers.Mean(given)


def test_what_its_members_report(source_table, target_table):
    mean = recyclers.Mean(("procrustes", "v2v-lin", "copy"))
    fitted = mean.fit(source_table[:5], source_table[5:10])
    of_members = fitted.diagnostics["recyclers"]
    assert [one["name"] for one in of_members] == ["procrustes", "v2v-lin", "copy"]
    assert of_members[1]["rank"] == 5
    assert [w.split(":")[0] for w in fitted.warnings] == ["procrustes", "v2v-lin"]
