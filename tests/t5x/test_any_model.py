"""`evaluate_prompts` and `choose` with T5X's networks and with flaxformer's."""

import json

import numpy as np
import pytest

from prompt_tuning_recycling.evaluation import manifest
from prompt_tuning_recycling.evaluation.manifest import Evaluation

FLAXFORMER = ("flaxformer_target_prompt.gin",)
SCALABLE = ("scalable_t5_prompt.gin",)
CHOICE = {
    "MIXTURE_OR_TASK_NAME": "even_or_odd_ranked",
    "CANDIDATES": ("v2v-lin", "procrustes", "copy"),
    "NUM_UNLABELED": 12,
}
FOUR = {"XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
TWO_SHARES = [
    "--gin.partitioning.PjitPartitioner.num_partitions=None",
    "--gin.partitioning.PjitPartitioner.model_parallel_submesh=(1, 1, 1, 2)",
]


@pytest.fixture
def prompt(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "prompt"
    with path.open("wb") as file:
        np.save(file, 3 * rng.normal(size=(8, 24)).astype(np.float32))
    return str(path)


@pytest.fixture
def evaluate(start, tmp_path):
    """Evaluates prompts; None stands for no prompt."""

    def evaluate(*flags, prompts, **rest):
        path = tmp_path / "manifest.json"
        listed = [
            Evaluation(
                str(tmp_path / "together" / name),
                **({"prompt": prompt} if prompt else {"no_prompt": True}),
            )
            for name, prompt in prompts.items()
        ]
        manifest.write(path, listed, [])
        return start("evaluate_prompts", *flags, folder=path, **rest)

    return evaluate


def written(folder):
    """What an evaluation of the task writes: its metrics, and what was predicted."""
    files = sorted(folder.glob("inference_eval/*.jsonl"))
    assert len(files) == 2
    return {path.name: path.read_bytes() for path in files}


def metrics(folder):
    (path,) = folder.glob("inference_eval/*-metrics.jsonl")
    return json.loads(path.read_text())


def test_scalable_t5_with_and_without_a_prompt(
    start, evaluate, pretrained, prompt, tmp_path
):
    target = {"INITIAL_CHECKPOINT_PATH": str(pretrained("scalable_t5"))}
    prompts = {"none": None, "prompt": prompt}
    run = evaluate(prompts=prompts, files=SCALABLE, **target)
    assert "2 of 2: " in run.must_work().output
    files = [*SCALABLE, "prompts/from_file.gin"]
    alone = start("eval", files=files, PROMPT_FILE=prompt, **target).must_work()
    assert written(tmp_path / "together/prompt") == written(alone.folder)
    # T5X's own network and model file.
    own = start("eval", files=["scalable_t5.gin"], last="own_model.gin", **target)
    assert written(tmp_path / "together/none") == written(own.must_work().folder)
    found = metrics(tmp_path / "together/prompt")
    assert found != metrics(tmp_path / "together/none")

    evaluate(
        *TWO_SHARES,
        prompts={"four": prompt},
        files=SCALABLE,
        environment=FOUR,
        **target,
    ).must_work()
    four = metrics(tmp_path / "together/four")
    assert four == pytest.approx(found, rel=1e-5)


def test_flaxformers_model(start, evaluate, prompt, tmp_path):
    """It cannot be built without its prompt, which is said; the others are done."""
    run = evaluate(prompts={"none": None, "prompt": prompt}, files=FLAXFORMER)
    assert run.wait() == 1
    assert "PromptEncoderDecoder cannot be built without its prompt" in run.output
    assert "1 of 2 evaluations failed" in run.output
    assert not (tmp_path / "together/none").exists()
    files = [*FLAXFORMER, "prompts/from_file.gin"]
    alone = start("eval", files=files, PROMPT_FILE=prompt).must_work()
    assert written(tmp_path / "together/prompt") == written(alone.folder)


def test_decoder_only(
    start, evaluate, pretrained, prompt, decoder_only_sources, tmp_path
):
    model = {
        "files": ["decoder_only_prompt.gin"],
        "environment": {"T5X_EXAMPLES": decoder_only_sources},
    }
    target = pretrained("decoder_only", model["environment"])
    model["INITIAL_CHECKPOINT_PATH"] = str(target)
    evaluate(prompts={"none": None, "prompt": prompt}, **model).must_work()
    model["files"].append("prompts/from_file.gin")
    alone = start("eval", PROMPT_FILE=prompt, **model).must_work()
    assert written(tmp_path / "together/prompt") == written(alone.folder)
    with_and_without = [metrics(tmp_path / "together" / n) for n in ("none", "prompt")]
    assert with_and_without[0] != with_and_without[1]


def test_patterns_that_match_nothing_are_an_error(evaluate, prompt):
    flag = "--gin.prompt_evaluation.evaluate_prompts.patterns=['.*/promt/.*']"
    run = evaluate(flag, prompts={"prompt": prompt}, files=["target_prompt.gin"])
    assert run.wait() == 1
    assert "none of the model's parameters matches ['.*/promt/.*']" in run.output
    assert "Did you mean encoder/prompt/prompt/prompt?" in run.output


def test_a_model_without_a_prompt_is_an_error(evaluate, prompt):
    run = evaluate(prompts={"none": None}, files=["target.gin"])
    assert run.wait() == 1
    assert "Use a model file that ends in _prompt" in run.output


def test_a_checkpoint_of_another_network_is_named(start, evaluate, pretrained, prompt):
    scanned = {"INITIAL_CHECKPOINT_PATH": str(pretrained("scalable_t5"))}
    run = evaluate(prompts={"prompt": prompt}, files=["target_prompt.gin"], **scanned)
    other = start(
        "eval",
        files=["target_prompt.gin", "prompts/from_file.gin"],
        PROMPT_FILE=prompt,
        **scanned,
    )
    for refused in (run, other):
        assert refused.wait() == 1
        assert "It has scanned layers (models/scalable_*_prompt.gin)" in refused.output


def record(run):
    return json.loads((run.folder / "chosen/prompt.npy.json").read_text())["choice"]


def check_copy_answers_as_its_teacher(run):
    """Where the teacher is the same model, its own prompt gives the same answers."""
    taught = json.loads((run.folder / "chosen/teacher.json").read_text())
    expected = np.mean([np.dot(row, row) for row in taught["probabilities"]])
    copied = record(run)["candidates"]["copy"]
    assert copied["agreement"] == pytest.approx(expected, abs=1e-6)


def test_scalable_t5_chooses_with_a_teacher_of_its_size(start, pretrained, tuned):
    run = start(
        "choose",
        files=SCALABLE,
        INITIAL_CHECKPOINT_PATH=str(pretrained("scalable_t5")),
        RECYCLE_FROM=str(tuned("scalable_t5")),
        **CHOICE,
    ).must_work()
    assert set(record(run)["candidates"]) == set(CHOICE["CANDIDATES"])
    check_copy_answers_as_its_teacher(run)


def test_scalable_t5_chooses_with_the_scores_of_another_size(
    start, pretrained, tuned, tmp_path
):
    choice = {**CHOICE, "RECYCLE_FROM": str(tuned("scalable_t5_source"))}
    target = {"INITIAL_CHECKPOINT_PATH": str(pretrained("scalable_t5"))}
    refused = start("choose", files=SCALABLE, **target, **choice)
    assert refused.wait() == 1
    assert "give them as TEACHER_SCORES" in refused.output
    scores = tmp_path / "teacher.json"
    files = ["scalable_t5_source_prompt.gin"]
    start("teach", files=files, folder=scores, **choice).must_work()
    run = start(
        "choose", files=SCALABLE, TEACHER_SCORES=str(scores), **target, **choice
    ).must_work()
    assert set(record(run)["candidates"]) == {"v2v-lin", "procrustes"}


def test_flaxformer_chooses_as_our_network_does(start, t5x_written, tmp_path):
    source = str(t5x_written / "prompt_orbax/checkpoint_50")
    choice = {**CHOICE, "RECYCLE_FROM": source}
    scores = tmp_path / "teacher.json"
    start("teach", files=["source_prompt.gin"], folder=scores, **choice).must_work()
    ours, theirs = (
        record(
            start(
                "choose", files=files, TEACHER_SCORES=str(scores), **choice
            ).must_work()
        )
        for files in (["target_prompt.gin"], FLAXFORMER)
    )
    assert ours["chosen"] == theirs["chosen"]
    assert set(ours["candidates"]) == {"v2v-lin", "procrustes"}
    for name, one in ours["candidates"].items():
        for value in ("agreement", "information"):
            found = theirs["candidates"][name][value]
            assert found == pytest.approx(one[value], rel=1e-4, abs=1e-5)


def test_decoder_only_chooses(start, tuned, pretrained, decoder_only_sources):
    environment = {"T5X_EXAMPLES": decoder_only_sources}
    run = start(
        "choose",
        files=["decoder_only_prompt.gin"],
        INITIAL_CHECKPOINT_PATH=str(pretrained("decoder_only", environment)),
        RECYCLE_FROM=str(tuned("decoder_only", environment)),
        environment=environment,
        REFINE_STEPS=2,
        **CHOICE,
    ).must_work()
    check_copy_answers_as_its_teacher(run)
    assert len(record(run)["refined"]["losses"]) >= 2
