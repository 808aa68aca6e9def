"""The paper's tasks on data of the real structure: texts, splits, metrics.

What is expected is written by hand from the datasets' published descriptions.
"""

import functools

import numpy as np
import pytest
import seqio

from prompt_tuning_recycling.tasks import c4, imdb, qqp, sst2

from ..conftest import thorough
from .conftest import examples, texts_of

# Reading seqio's tasks takes seconds.
pytestmark = pytest.mark.slow

QQP_NAMES = (
    "not_duplicate_duplicate",
    "0_1",
    "unique_duplicate",
    "not_spc_duplicate_duplicate",
)
LENGTHS = {"inputs": 512, "targets": 16}


def test_names_are_those_of_existing_configurations():
    tasks = {
        "pr:glue_sst2_v200_train",
        "pr:glue_sst2_v200_test",
        "pr:glue_sst2_v200_test_rc",
        "pr:super_glue_record_v102_training",
        "pr:super_glue_record_v102_test",
        "pr:super_glue_record_v102_rc",
        "c4_v220_random_positive_negative_targets",
    }
    mixtures = {
        "pr:glue_sst2_v200",
        "pr:glue_sst2_v200_eval",
        "pr:super_glue_record_v102",
        "pr:super_glue_record_v102_eval",
    }
    for verbalizers in ("0_1", "negative_positive"):
        name = f"pr:imdb_v100_{verbalizers}_verbalizers"
        tasks |= {f"{name}_train", f"{name}_test", f"{name}_test_rc"}
        mixtures |= {name, f"{name}_eval"}
    for verbalizers in QQP_NAMES:
        name = f"pr:glue_qqp_v200_{verbalizers}_verbalizers"
        tasks |= {f"{name}_{part}" for part in ("training", "test", "rc", "rc_normed")}
        mixtures |= {name, f"{name}_eval"}
    assert tasks <= set(seqio.TaskRegistry.names())
    assert mixtures <= set(seqio.MixtureRegistry.names())


@pytest.mark.parametrize(
    ("mixture", "parts"),
    [
        ("pr:glue_sst2_v200", ("_train", "_test", "_test_rc")),
        ("pr:glue_sst2_v200_eval", ("_test_rc", "_test")),
        ("pr:imdb_v100_0_1_verbalizers", ("_train", "_test", "_test_rc")),
        ("pr:imdb_v100_0_1_verbalizers_eval", ("_test", "_test_rc")),
        (
            "pr:glue_qqp_v200_0_1_verbalizers",
            ("_rc", "_rc_normed", "_training", "_test"),
        ),
        ("pr:glue_qqp_v200_0_1_verbalizers_eval", ("_rc", "_rc_normed", "_test")),
        ("pr:super_glue_record_v102", ("_training", "_test", "_rc")),
        ("pr:super_glue_record_v102_eval", ("_test", "_rc")),
    ],
)
def test_mixtures_hold(mixture, parts):
    tasks = seqio.get_subtasks(seqio.get_mixture_or_task(mixture))
    name = mixture.removesuffix("_eval")
    assert {task.name for task in tasks} == {f"{name}{part}" for part in parts}


def test_sst2(texts):
    assert texts("pr:glue_sst2_v200_test") == [
        ("sentence: hide new secretions from the parental units ", "negative"),
        ("sentence: that loves its characters", "positive"),
        ("sentence: uneasy mishmash of styles and genres .", "<unk>"),
    ]


def test_sst2_rank_classification(tfds_folder, demo_vocabulary):
    rows = examples("pr:glue_sst2_v200_test_rc")
    assert texts_of(rows)[:4] == [
        ("sentence: hide new secretions from the parental units ", "negative"),
        ("sentence: hide new secretions from the parental units ", "positive"),
        ("sentence: that loves its characters", "negative"),
        ("sentence: that loves its characters", "positive"),
    ]
    assert correct(rows) == [1, 0, 0, 1, 0, 0]


def correct(rows):
    return [int(row["ranking"][2]) for row in rows]


@pytest.mark.thorough
def test_sst2_trains_on_all_but_the_last_thousand(texts):
    assert texts("pr:glue_sst2_v200_train", "train") == [
        ("sentence: film 0 ", "negative"),
        ("sentence: film 1 ", "positive"),
        ("sentence: film 2 ", "negative"),
    ]
    validation = texts("pr:glue_sst2_v200_train")
    assert len(validation) == 1000
    assert validation[0] == ("sentence: film 3 ", "positive")
    assert validation[-1] == ("sentence: film 1002 ", "negative")


@pytest.mark.parametrize(
    ("verbalizers", "negative", "positive"),
    [
        ("0_1", "0", "1"),
        thorough("negative_positive", "negative", "positive"),
    ],
)
def test_imdb(texts, verbalizers, negative, positive):
    name = f"pr:imdb_v100_{verbalizers}_verbalizers"
    assert texts(f"{name}_test") == [
        ("A dull film.<br /><br />Avoid.", negative),
        ("Wonderful!", positive),
        ("Who knows.", "UNK"),
    ]
    rows = examples(f"{name}_test_rc")
    assert texts_of(rows)[:2] == [
        ("A dull film.<br /><br />Avoid.", negative),
        ("A dull film.<br /><br />Avoid.", positive),
    ]
    assert correct(rows) == [1, 0, 0, 1, 0, 0]
    assert texts(f"{name}_train", "train") == [
        ("film 0", negative),
        ("film 1", positive),
        ("film 2", negative),
    ]
    validation = texts(f"{name}_train")
    assert (len(validation), validation[0]) == (1000, ("film 3", positive))


@pytest.mark.parametrize(
    ("name", "different", "same"),
    [
        thorough("not_duplicate_duplicate", "not_duplicate", "duplicate"),
        thorough("0_1", "0", "1"),
        thorough("unique_duplicate", "unique", "duplicate"),
        ("not_spc_duplicate_duplicate", "not duplicate", "duplicate"),
    ],
)
def test_qqp(texts, name, different, same):
    name = f"pr:glue_qqp_v200_{name}_verbalizers"
    first = (
        "question1: Why are African-Americans so beautiful? "
        "question2: Why are hispanics so beautiful?"
    )
    second = (
        "question1: How can I be a good geologist? "
        "question2: What should I do to be a great geologist?"
    )
    empty = "question1:  question2: Which?"
    assert texts(f"{name}_test") == [
        (first, different),
        (second, same),
        (empty, "<unk>"),
        (second, same),
    ]
    for ranking in (f"{name}_rc", f"{name}_rc_normed"):
        rows = examples(ranking)
        assert texts_of(rows) == [
            (text, label)
            for text in (first, second, empty, second)
            for label in (different, same)
        ]
        assert correct(rows) == [1, 0, 0, 1, 0, 0, 0, 1]


@pytest.mark.thorough
def test_qqp_trains_on_all_but_the_last_ten_thousand(texts):
    name = "pr:glue_qqp_v200_unique_duplicate_verbalizers_training"
    assert texts(name, "train") == [
        ("question1: why 0 ? question2: how ?", "unique"),
        ("question1: why 1 ? question2: how ?", "duplicate"),
    ]
    validation = texts(name)
    assert len(validation) == 10_000
    assert validation[0] == ("question1: why 2 ? question2: how ?", "unique")


RECORD = [
    "query: Nuria said she was forced to marry @placeholder "
    "entities: Afghanistan, Badam Bagh, Mariam, Nuria "
    "passage: The harrowing stories of women and children locked up for so-called "
    "'moral crimes' in Afghanistan's notorious female prison have been revealed after "
    "cameras were allowed inside. Mariam has been in Badam Bagh prison for three "
    "months. She shot a man who raped her",
    "query: @placeholder won entities: Ghana passage: ",
    'query: Q @placeholder entities: A, B passage: Is it? No! "Yes" End',
]


def test_record(texts):
    """An example of each answer; without answers, one."""
    assert texts("pr:super_glue_record_v102_test") == [
        (RECORD[0], "Badam Bagh"),
        (RECORD[0], "Nuria"),
        (RECORD[1], "Ghana"),
        (RECORD[2], "<unk>"),
    ]


def test_record_rank_classification(tfds_folder, demo_vocabulary):
    rows = examples("pr:super_glue_record_v102_rc")
    assert texts_of(rows) == [
        (RECORD[0], "Afghanistan"),
        (RECORD[0], "Badam Bagh"),
        (RECORD[0], "Mariam"),
        (RECORD[0], "Nuria"),
        (RECORD[1], "Ghana"),
        (RECORD[2], "A"),
        (RECORD[2], "B"),
    ]
    assert correct(rows) == [0, 1, 0, 1, 1, 0, 0]


def test_record_trains_on_all_but_the_last_ten_thousand(texts):
    name = "pr:super_glue_record_v102_training"
    train = examples(name, "train")
    assert [(int(row["idx/query"]), row["targets_pretokenized"]) for row in train] == [
        (0, b"Badam Bagh"),
        (0, b"Nuria"),
        (1, b"Badam Bagh"),
        (1, b"Nuria"),
    ]
    dataset = seqio.get_mixture_or_task(name).get_dataset(
        None, "validation", shuffle=False
    )
    assert int(next(dataset.as_numpy_iterator())["idx/query"]) == 2


def evaluate(name, predictions=None, scores=None):
    """A task's metrics of constructed texts, or scores, of its validation split."""
    evaluator = seqio.Evaluator(
        name, seqio.EncDecFeatureConverter(pack=False), "validation"
    )
    vocabulary = evaluator.eval_tasks[0].output_features["targets"].vocabulary

    def predict(dataset):
        tokens = [[*vocabulary.encode(text), 1] for text in predictions]
        most = max(map(len, tokens))
        padded = [np.array(it + [0] * (most - len(it)), np.int32) for it in tokens]
        return list(enumerate(padded))

    future, _ = evaluator.evaluate(
        compute_metrics=True,
        predict_fn=predict,
        score_fn=lambda dataset: list(enumerate(scores)),
    )
    return dict(future.result()[name])


@pytest.mark.thorough
def test_sst2_metrics(tfds_folder, t5_vocabulary):
    found = evaluate("pr:glue_sst2_v200_test", ["negative", "negative", "nonsense"])
    assert found == {"accuracy": pytest.approx(100 / 3)}
    found = evaluate(
        "pr:glue_sst2_v200_test_rc", scores=[-1.0, -2.0, -2.0, -1.0, -1.0, -1.0]
    )
    assert found == {
        "accuracy": pytest.approx(200 / 3),
        "normed_accuracy": pytest.approx(200 / 3),
    }


@pytest.mark.thorough
def test_imdb_metrics(tfds_folder, t5_vocabulary):
    found = evaluate(
        "pr:imdb_v100_negative_positive_verbalizers_test", ["negative"] * 3
    )
    assert found == {"accuracy": pytest.approx(100 / 3)}
    # "0" is three tokens of T5's vocabulary, "1" two.
    found = evaluate(
        "pr:imdb_v100_0_1_verbalizers_test_rc",
        scores=[-3.0, -2.5, -3.0, -2.5, -1.0, -2.0],
    )
    assert found == {
        "accuracy": pytest.approx(100 / 3),
        "normed_accuracy": pytest.approx(100 / 3),
    }
    found = evaluate(
        "pr:imdb_v100_0_1_verbalizers_test_rc",
        scores=[-3.0, -2.5, -1.0, -2.5, -1.0, -2.0],
    )
    assert found == {"accuracy": 0.0, "normed_accuracy": pytest.approx(100 / 3)}


@pytest.mark.thorough
def test_qqp_metrics(tfds_folder, t5_vocabulary):
    name = "pr:glue_qqp_v200_not_spc_duplicate_duplicate_verbalizers"
    # The third has no label: never right for accuracy. F1 is of labeled examples.
    found = evaluate(
        f"{name}_test", ["not duplicate", "duplicate", "duplicate", "nonsense"]
    )
    assert found["accuracy"] == 50.0
    assert found["f1"] == pytest.approx(100 * 2 / 3)


@pytest.mark.thorough
def test_qqp_ranking_metrics(tfds_folder, t5_vocabulary):
    name = "pr:glue_qqp_v200_not_spc_duplicate_duplicate_verbalizers"
    # "not duplicate" is three tokens with EOS, "duplicate" two.
    scores = [-2.0, -1.5, -2.0, -1.5, -1.0, -1.5, -3.0, -1.0]
    plain = evaluate(f"{name}_rc", scores=scores)
    normed = evaluate(f"{name}_rc_normed", scores=scores)
    # Answers: duplicate, duplicate, not, duplicate. Normed: not (-.67 against -.75),
    # not, not, duplicate (-1 against -.5).
    assert plain["accuracy"] == 50.0
    assert plain["normed_accuracy"] == normed["accuracy"] == 50.0
    # One true positive, one missed, none false; plain: two true, one false.
    assert plain["f1"] == pytest.approx(100 * 4 / 5)
    assert plain["normed_f1"] == normed["f1"] == pytest.approx(100 * 2 / 3)
    assert set(plain) == {"accuracy", "f1", "normed_accuracy", "normed_f1"}
    assert set(normed) == {"accuracy", "f1"}


@pytest.mark.thorough
def test_record_metrics(tfds_folder, t5_vocabulary):
    found = evaluate(
        "pr:super_glue_record_v102_test", ["the Nuria", "anything", "Togo", "<unk>"]
    )
    assert found == {"em": pytest.approx(100 / 3), "f1": pytest.approx(100 / 3)}
    # Afghanistan, Badam Bagh, Mariam, Nuria: 2, 5, 3 and 4 tokens.
    found = evaluate(
        "pr:super_glue_record_v102_rc",
        scores=[-1.0, -2.0, -4.0, -5.0, -9.0, -1.0, -2.0],
    )
    assert found == {
        "accuracy": pytest.approx(100 / 3),
        "normed_accuracy": pytest.approx(200 / 3),
    }


@pytest.mark.thorough
def test_the_pieces_of_the_t5_vocabulary(tfds_folder, t5_vocabulary):
    """As the sentencepiece library alone cuts the texts, with EOS at the end."""

    read = functools.cache(lambda name: examples(name, lengths=LENGTHS))

    def pieces(name, feature, number=0):
        tokens = read(name)[number][feature]
        return [t5_vocabulary.tokenizer.IdToPiece(int(token)) for token in tokens]

    def row(name, number=0):
        example = read(name)[number]
        return example["inputs"].tolist(), example["targets"].tolist()

    assert pieces("pr:glue_sst2_v200_test", "inputs", 1) == [
        *("▁sentence", ":", "▁that", "▁loves", "▁its", "▁characters", "</s>")
    ]
    assert row("pr:glue_sst2_v200_test", 1) == (
        [7142, 10, 24, 5682, 165, 2850, 1],
        [1465, 1],
    )
    assert row("pr:imdb_v100_0_1_verbalizers_test", 1) == ([21218, 55, 1], [209, 1])
    assert pieces("pr:imdb_v100_0_1_verbalizers_test", "targets") == ["▁", "0", "</s>"]
    name = "pr:glue_qqp_v200_{}_verbalizers_test"
    assert pieces(name.format("not_duplicate_duplicate"), "targets") == [
        *("▁not", "_", "d", "up", "licate", "</s>")
    ]
    assert pieces(name.format("unique_duplicate"), "targets") == ["▁unique", "</s>"]
    assert pieces(name.format("0_1"), "inputs", 1)[:4] == [
        *("▁question", "1", ":", "▁How")
    ]
    assert row("pr:super_glue_record_v102_test", 2)[1] == [18406, 1]
    assert pieces("pr:super_glue_record_v102_test", "inputs", 2) == [
        *("▁query", ":", "▁@", "place", "holder", "▁won"),
        *("▁entities", ":", "▁Ghana", "▁passage", ":", "</s>"),
    ]


@pytest.mark.parametrize(
    "verbalizers",
    [sst2.VERBALIZERS, *imdb.VERBALIZERS, *qqp.VERBALIZERS, c4.TARGETS],
    ids=" ".join,
)
def test_no_verbalizer_is_cut(t5_vocabulary, verbalizers):
    """The shortest targets that prompt tuning's own configurations use have room for 8
    tokens, EOS included.
    """
    for text in verbalizers:
        tokens = t5_vocabulary.encode(text)
        assert len(tokens) + 1 <= 8
        assert t5_vocabulary.unk_id not in tokens
        assert t5_vocabulary.decode(tokens) == text


@pytest.mark.parametrize("length", [5, thorough(512)])
def test_what_is_cut_still_ends(tfds_folder, t5_vocabulary, length):
    """A text longer than the inputs keeps its beginning and EOS."""
    name = "pr:super_glue_record_v102_rc"
    lengths = {"inputs": length, "targets": 3}
    whole, cut = examples(name), examples(name, lengths=lengths)
    for long, short in zip(whole, cut, strict=True):
        kept = min(len(long["inputs"]), length)
        assert short["inputs"].tolist() == [*long["inputs"][: kept - 1], 1]
        assert len(short["targets"]) <= 3
        assert short["targets"][-1] == 1
    assert (len(cut[0]["inputs"]) == 5) == (length == 5)


def test_the_vocabulary_is_the_models(t5_vocabulary):
    """Else T5X refuses to evaluate the task."""
    task = seqio.get_mixture_or_task("pr:glue_sst2_v200_test")
    for feature in task.output_features.values():
        assert feature.vocabulary == t5_vocabulary
        assert feature.add_eos


@pytest.mark.parametrize(
    "mixture",
    [
        "pr:glue_sst2_v200",
        thorough("pr:imdb_v100_0_1_verbalizers"),
        thorough("pr:glue_qqp_v200_0_1_verbalizers"),
        "pr:super_glue_record_v102",
    ],
)
def test_a_mixture_trains_on_the_training_task_alone(
    tfds_folder, demo_vocabulary, mixture
):
    dataset = seqio.get_dataset(
        mixture,
        task_feature_lengths=LENGTHS,
        dataset_split="train",
        shuffle=False,
        num_epochs=1,
        feature_converter=seqio.EncDecFeatureConverter(pack=False),
    )
    training = {"pr:glue_sst2_v200": "_train", "pr:imdb_v100_0_1_verbalizers": "_train"}
    name = mixture + training.get(mixture, "_training")
    expected = examples(name, "train", LENGTHS)
    found = list(dataset.as_numpy_iterator())
    assert len(found) == len(expected)
    for row, example in zip(found, expected, strict=True):
        tokens = row["decoder_target_tokens"]
        assert tokens[tokens > 0].tolist() == example["targets"].tolist()


@pytest.mark.thorough
@pytest.mark.parametrize("mixture", ["pr:glue_sst2_v200", "pr:super_glue_record_v102"])
def test_a_mixture_evaluates_all_its_tasks(tfds_folder, letters, mixture):
    evaluator = seqio.Evaluator(
        mixture, seqio.EncDecFeatureConverter(pack=False), "validation", num_examples=4
    )

    def score(dataset):
        return [(n, -float(n)) for n, _ in dataset.as_numpy_iterator()]

    def predict(dataset):
        return [(n, np.array([5, 1])) for n, _ in dataset.as_numpy_iterator()]

    future, _ = evaluator.evaluate(
        compute_metrics=True, score_fn=score, predict_fn=predict
    )
    metrics = future.result()
    tasks = seqio.get_subtasks(seqio.get_mixture_or_task(mixture))
    assert set(metrics) == {task.name for task in tasks}


C4 = "c4_v220_random_positive_negative_targets"


@pytest.mark.thorough
def test_c4_inputs_are_beginnings_of_pieces(tfds_folder, t5_vocabulary):
    """Documents of 220 tokens, none, and one, in pieces of 31 tokens and EOS."""
    document = t5_vocabulary.encode(
        "one two three four five six seven eight nine ten " * 20
    )
    assert len(document) == 220
    found = examples(C4, lengths={"inputs": 32, "targets": 8})
    assert len(found) == 8 + 1
    for piece, row in enumerate(found[:8]):
        whole = document[31 * piece : 31 * (piece + 1)]
        inputs = row["inputs"].tolist()
        assert inputs[-1] == 1
        assert 1 <= len(inputs) - 1 <= len(whole) - 1
        assert inputs[:-1] == whole[: len(inputs) - 1]
    assert found[8]["inputs"].tolist() == [1]


@pytest.mark.thorough
def test_c4_targets_are_drawn_evenly_and_have_nothing_to_do_with_the_inputs(
    tfds_folder, t5_vocabulary
):
    task = seqio.get_mixture_or_task(C4)
    lengths = {"inputs": 32, "targets": 8}
    dataset = task.get_dataset(lengths, "train", num_epochs=250, shuffle=False, seed=0)
    rows = list(dataset.as_numpy_iterator())
    negative, positive = [2841, 1], [1465, 1]
    targets = [row["targets"].tolist() for row in rows]
    assert all(target in (negative, positive) for target in targets)
    share = targets.count(positive) / len(targets)
    # Four standard deviations of the share are .042, of a correlation .084.
    assert len(rows) == 250 * 9
    assert share == pytest.approx(0.5, abs=0.042)
    lengths = [len(row["inputs"]) for row in rows]
    assert abs(np.corrcoef(lengths, [t == positive for t in targets])[0, 1]) < 0.084


@pytest.mark.thorough
def test_c4_draws_the_same_with_the_same_seed(tfds_folder, t5_vocabulary):
    lengths = {"inputs": 32, "targets": 8}
    first, second = (examples(C4, lengths=lengths) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert one["inputs"].tolist() == other["inputs"].tolist()
        assert one["targets"].tolist() == other["targets"].tolist()
