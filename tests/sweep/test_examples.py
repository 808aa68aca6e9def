"""The configurations that the repository ships are as they should be."""

import json
import pathlib

import pytest

from prompt_tuning_recycling.sweep import configuration, outputs
from prompt_tuning_recycling.sweep.plan import Plan

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
# Pairs x initializations x runs x steps x recyclers.
PROMPTS = {
    "examples/sweeps/sst2.json": 12 * 5 * 3 * 4 * 3,
    "examples/sweeps/imdb.json": 12 * 3 * 3 * 4 * 3,
    # Seven recyclers for all pairs, and `copy` for the six of one width.
    "examples/study/study.json": (12 * 7 + 6) * 2 * 4,
}


@pytest.mark.parametrize("name", PROMPTS)
def test_each_example_has_no_mistakes(name):
    sweep = configuration.load(CHECKOUT / name)
    assert len(Plan(sweep).items()) == PROMPTS[name]
    outputs.check(sweep, Plan(sweep).pairs())


def test_a_configuration_of_the_papers_code_as_it_is(tmp_path):
    """With the paths filled in that it leaves open; all else stays as it was."""
    content = json.loads((CHECKOUT / "examples/sweeps/sst2.json").read_text())
    del content["baselines"]
    content["recycling_methods"] = {
        "jax-nn": {
            "__init__": {"hidden_scale": 4},
            "fit": {"batch_size": 50, "learning_rate": 0.0003, "epochs": 25},
        },
        "tf-lstsq": {},
        "linear-combination": {},
    }
    content["load_embeddings"]["default"]["word_list_path"] = "words.json"
    (tmp_path / "sst2.json").write_text(json.dumps(content))
    sweep = configuration.load(tmp_path / "sst2.json")
    names = [method.recycler.name for method in sweep.methods]
    assert names == ["v2v-nn", "v2v-lin", "lin-comb"]
    item = Plan(sweep).items()[0]
    assert item.output == (
        "gs://my-bucket/recycling/jax-nn/sst2/rand-init/run_1/recycled-prompt/"
        "recycled_from_Seed_0_at_1102000_to_Seed_2000"
    )
