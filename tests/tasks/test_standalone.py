"""Own files and the paper's tasks in the standalone host, end to end, on the demo's
tiny models; gin files and macros alone.
"""

import json
import os
import pathlib
import random

import numpy as np
import pytest
import seqio

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
DEMO = CHECKOUT / "examples" / "demo"


@pytest.fixture
def language(monkeypatch):
    """The demo's language, in which the tiny models were trained."""
    monkeypatch.syspath_prepend(CHECKOUT)
    from examples.demo import language

    return language


@pytest.fixture(autouse=True)
def from_the_checkout(monkeypatch):
    """The demo's gin files name its models relative to it."""
    monkeypatch.chdir(CHECKOUT)


@pytest.fixture
def host(capfd):
    """Runs a program of the standalone host: exit code, output, errors."""
    from prompt_tuning_recycling.standalone import eval as evaluation

    def host(*arguments):
        code = evaluation.main(list(arguments))
        return code, *capfd.readouterr()

    yield host
    for registry in (seqio.TaskRegistry, seqio.MixtureRegistry):
        for name in [name for name in registry.names() if name.startswith("own")]:
            registry.remove(name)


def arguments(out, files, **macros):
    macros = {
        "INITIAL_CHECKPOINT_PATH": str(DEMO / "models" / "source"),
        "EVAL_OUTPUT_DIR": str(out),
        "EVAL_SPLIT": "validation",
        "BATCH_SIZE": 7,
        **macros,
    }
    return [
        *(f"--gin_file={file}" for file in files),
        *(f"--gin.{name}={value!r}" for name, value in macros.items()),
    ]


RUN = (
    "examples/demo/gin/tiny.gin",
    "runs/standalone/eval.gin",
    "tasks/from_files.gin",
)


@pytest.fixture
def questions(language, tmp_path):
    """50 questions with a label's number, and as they are written to a file."""
    rng = random.Random(3)
    labels = language.ATTRIBUTES["sentiment"].labels
    pairs = [language.question(rng, "sentiment") for _ in range(50)]
    path = tmp_path / "validation.tsv"
    path.write_text(
        "inputs\ttargets\n"
        + "".join(f"{text}\t{labels.index(label)}\n" for text, label in pairs)
    )
    return pairs, labels, path


def log_likelihoods(texts, targets):
    """Each target's, in nats, computed one at a time from the network's logits."""
    import jax

    from prompt_tuning_recycling import network
    from prompt_tuning_recycling.models import open_model
    from prompt_tuning_recycling.standalone import parameters

    file = str(DEMO / "models" / "vocabulary.model")
    vocabulary = seqio.SentencePieceVocabulary(file)
    config = network.T5Config(
        vocab_size=640, emb_dim=64, num_heads=4, head_dim=16, mlp_dim=128,
        num_encoder_layers=2, num_decoder_layers=2,
        mlp_activations=("gelu", "linear"), logits_via_embedding=False,
    )  # fmt: skip
    module = network.Transformer(config)
    loaded = parameters.load(open_model(DEMO / "models" / "source"), module, None)
    nested = parameters.nested(loaded)

    @jax.jit
    def logits(*tokens):
        return module.apply({"params": nested}, *tokens, enable_dropout=False)

    def padded(tokens, length):
        return np.array([tokens + [0] * (length - len(tokens))])

    found = []
    for text, target in zip(texts, targets, strict=True):
        inputs = [*vocabulary.encode(text), 1]
        wanted = [*vocabulary.encode(target), 1]
        logs = jax.nn.log_softmax(
            logits(padded(inputs, 40), padded([0, *wanted[:-1]], 5), padded(wanted, 5))[
                0
            ]
        )
        found.append(sum(float(logs[i, token]) for i, token in enumerate(wanted)))
    return np.array(found)


@pytest.mark.slow
def test_own_files_by_rank_classification(host, questions, tmp_path):
    pairs, labels, path = questions
    code, out, error = host(
        *arguments(
            tmp_path / "out",
            RUN,
            TASK_NAME="own",
            TASK_FILES={"validation": str(path)},
            VERBALIZERS=labels,
        )
    )
    assert (code, error) == (0, "")
    metrics = json.loads(
        (
            tmp_path / "out/inference_eval/own_rank_classification-metrics.jsonl"
        ).read_text()
    )
    texts = [text for text, _ in pairs for _ in labels]
    scores = log_likelihoods(texts, list(labels) * len(pairs)).reshape(-1, len(labels))
    best = scores.argmax(axis=1)
    right = [labels[i] == label for i, (_, label) in zip(best, pairs, strict=True)]
    assert metrics["accuracy"] == 100 * sum(right) / len(right)
    # The labels are one token each.
    assert metrics["normed_accuracy"] == metrics["accuracy"]
    # Neither chance nor a perfect score would tell much.
    assert metrics["accuracy"] > 80
    assert "own_generation: accuracy " in out
    recorded = [
        json.loads(line)
        for line in (tmp_path / "out/inference_eval")
        .glob("own_rank*.jsonl")
        .__next__()
        .read_text()
        .splitlines()
    ]
    assert recorded


@pytest.mark.slow
@pytest.mark.thorough
def test_choices_of_one_to_four_several_right(host, language, tmp_path):
    """Choices of different lengths: the two metrics differ, as computed by hand."""
    rng = random.Random(4)
    words = [word for word in language.vocabulary() if word.isalpha()]
    records = []
    for _ in range(40):
        choices = [
            " ".join(rng.sample(words, rng.randint(1, 3)))
            for _ in range(rng.randint(1, 4))
        ]
        right = rng.sample(choices, rng.randint(1, min(2, len(choices))))
        text, _ = language.question(rng, "topic")
        records.append({"inputs": text, "targets": right, "choices": choices})
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    code, _, error = host(
        *arguments(
            tmp_path / "out",
            RUN,
            TASK_NAME="own_choices",
            TASK_FILES={"validation": str(path)},
            TASK_EVALUATION="rank_classification",
        )
    )
    assert (code, error) == (0, "")
    folder = tmp_path / "out/inference_eval"
    metrics = json.loads(
        (folder / "own_choices_rank_classification-metrics.jsonl").read_text()
    )
    assert not list(folder.glob("own_choices_generation*"))
    file = str(DEMO / "models" / "vocabulary.model")
    vocabulary = seqio.SentencePieceVocabulary(file)
    plain, normed = [], []
    rows = [(record["inputs"], it) for record in records for it in record["choices"]]
    likelihoods = list(log_likelihoods(*zip(*rows, strict=True)))
    for record in records:
        choices = record["choices"]
        scores = np.array([likelihoods.pop(0) for _ in choices])
        lengths = [len(vocabulary.encode(choice)) + 1 for choice in choices]
        plain.append(choices[scores.argmax()] in record["targets"])
        normed.append(choices[(scores / lengths).argmax()] in record["targets"])
    assert metrics["accuracy"] == 100 * sum(plain) / 40
    assert metrics["normed_accuracy"] == 100 * sum(normed) / 40
    assert plain != normed


def of_the_paper(tmp_path, tfds_folder, **macros):
    return [
        *arguments(
            tmp_path / "out",
            RUN[:2],
            MIXTURE_OR_TASK_NAME="pr:glue_sst2_v200_eval",
            MIXTURE_OR_TASK_MODULE="prompt_tuning_recycling.tasks.sst2",
            TASK_FEATURE_LENGTHS={"inputs": 512, "targets": 16},
            **macros,
        ),
        f"--tfds_data_dir={tfds_folder}",
    ]


@pytest.mark.thorough
def test_a_task_of_the_paper(host, tfds_folder, tmp_path, letters_file):
    """SST-2 of TFDS's structure; the tiny model has only seen other words, so only that
    it runs and what it reports.
    """
    code, out, error = host(
        *of_the_paper(tmp_path, tfds_folder, VOCABULARY_FILE=letters_file)
    )
    assert (code, error) == (0, "")
    assert "pr:glue_sst2_v200_test_rc: accuracy " in out
    assert "normed_accuracy " in out
    assert "pr:glue_sst2_v200_test: accuracy " in out


@pytest.mark.slow
@pytest.mark.thorough
def test_a_vocabulary_that_does_not_know_the_verbalizers(host, tfds_folder, tmp_path):
    """To the demo's, `negative` and `positive` are the same."""
    code, _, error = host(*of_the_paper(tmp_path, tfds_folder))
    assert code == 1
    (line,) = [line for line in error.splitlines() if line.startswith("error: ")]
    assert "in every example a right choice has the same tokens" in line
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("macros", "message"),
    [
        ({"TASK_FILES": {"validation": "a.tsv"}}, "--gin.TASK_NAME=\"'reviews'\""),
        ({"TASK_NAME": "own"}, "TASK_FILES is not set"),
        (
            {"TASK_NAME": "own", "TASK_FILES": {"validation": "nowhere.tsv"}},
            "there is no file nowhere.tsv for the split validation",
        ),
        ({"TASK_NAM": "own"}, "nothing in these gin files uses TASK_NAM. Did you mean"),
    ],
)
def test_what_is_missing(host, tmp_path, macros, message):
    code, _, error = host(*arguments(tmp_path / "out", RUN, **macros))
    assert code == 1
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pr:glue_sst2_v200_tset_rc", "Did you mean pr:glue_sst2_v200_test_rc"),
        ("pr:imdb_v100_01_verbalizers", "Did you mean pr:imdb_v100_0_1_verbalizers"),
    ],
)
def test_a_misnamed_task(host, tmp_path, name, message):
    code, _, error = host(
        *arguments(
            tmp_path / "out",
            RUN[:2],
            MIXTURE_OR_TASK_NAME=name,
            MIXTURE_OR_TASK_MODULE="prompt_tuning_recycling.tasks.paper",
        )
    )
    assert code == 1
    assert f"there is no task or mixture '{name}'" in error
    assert message in error


@pytest.mark.slow
def test_a_dataset_that_is_missing(tmp_path, monkeypatch, start_program):
    """In a process of its own: seqio remembers where it found a dataset."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    import offline

    done = start_program(
        "prompt_tuning_recycling.standalone.eval",
        [
            *arguments(
                tmp_path / "out",
                RUN[:2],
                MIXTURE_OR_TASK_NAME="pr:glue_sst2_v200_test_rc",
                MIXTURE_OR_TASK_MODULE="prompt_tuning_recycling.tasks.sst2",
            ),
            f"--tfds_data_dir={tmp_path}/tfds",
        ],
        offline.know_no_names,
    ).end()
    assert done.code == 1
    (message,) = done.error.splitlines()
    assert message.startswith("error: the dataset glue/sst2:2.0.0 is not in")
    assert f"{tmp_path}/tfds/glue/sst2/2.0.0, and cannot be downloaded" in message
    assert "tfds.builder('glue/sst2:2.0.0', data_dir='DIR')" in message
