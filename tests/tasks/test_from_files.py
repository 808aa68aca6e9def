"""Tasks from one's own files."""

import json

import pytest
import seqio

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.tasks import from_files
from prompt_tuning_recycling.tasks.text_files import Example, read_examples

from .conftest import examples

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def registries(demo_vocabulary):
    """Leaves nothing registered."""
    tasks, mixtures = map(
        set, (seqio.TaskRegistry.names(), seqio.MixtureRegistry.names())
    )
    yield
    for name in set(seqio.TaskRegistry.names()) - tasks:
        seqio.TaskRegistry.remove(name)
    for name in set(seqio.MixtureRegistry.names()) - mixtures:
        seqio.MixtureRegistry.remove(name)


@pytest.fixture
def write(tmp_path):
    def write(name, text):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


def jsonl(*records):
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def test_tsv(write):
    path = write(
        "a.tsv", 'id\ttargets\tinputs\n7\tgood\tsaid "so"\n\n8\tbad\t\u2028x y\n'
    )
    assert read_examples(path) == [
        Example('said "so"', ("good",), None, f"{path}, line 2"),
        Example("\u2028x y", ("bad",), None, f"{path}, line 4"),
    ]


def test_tsv_with_choices(write):
    path = write(
        "a.tsv",
        "inputs\ttargets\tchoices\r\nx\tb c\ta|b c|d\r\ny\ta\t\r\n",
    )
    assert [(it.targets, it.choices) for it in read_examples(path)] == [
        (("b c",), ("a", "b c", "d")),
        (("a",), None),
    ]


def test_jsonl(write):
    path = write(
        "a.jsonl",
        jsonl(
            {"inputs": "x", "targets": 1, "other": None},
            {"inputs": "naïve\ty", "targets": ["a", "b"], "choices": ["a", "b", "c"]},
        ),
    )
    assert read_examples(path) == [
        Example("x", ("1",), None, f"{path}, line 1"),
        Example("naïve\ty", ("a", "b"), ("a", "b", "c"), f"{path}, line 2"),
    ]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "inputs,targets\n", "ends in .tsv or .jsonl, found .csv"),
        ("a.tsv", "", "no examples in"),
        ("a.tsv", "inputs\ttargets\n", "no examples in"),
        ("a.tsv", "a film\tgood\n", "first line to name the columns .* found a film"),
        ("a.tsv", "inputs\ttargets\na\tb\tc\n", "line 2: expected 2 fields .* found 3"),
        ("a.tsv", b"inputs\ttargets\n\xff\tb\n", "expected UTF-8"),
        ("a.jsonl", '{"inputs": "a", "targets": "b"}\n{', "line 2 is not JSON"),
        ("a.jsonl", "[1]", "line 1: expected an object"),
        (
            "a.jsonl",
            r'{"inputs": "a\ud800", "targets": "b"}',
            "line 1 has .* half of a",
        ),
        (
            "a.jsonl",
            r'{"inputs": "a", "targets": ["\udc00"]}',
            "line 1 has .* half of a",
        ),
        (
            "a.jsonl",
            '{"inputs": "a", "targets": ' + 5000 * "1",
            "line 1 .* 5000 digits",
        ),
        ("a.jsonl", 100_000 * "[", "line 1 is nested more"),
        (
            "a.jsonl",
            '{"input": "a", "targets": "b"}',
            "no 'inputs'. Did you mean input",
        ),
        ("a.jsonl", '{"inputs": 3, "targets": "b"}', "line 1: inputs: expected a text"),
        ("a.jsonl", '{"inputs": "a", "targets": 1.5}', "targets: .* found 1.5"),
        ("a.jsonl", '{"inputs": "a", "targets": true}', "targets: .* found true"),
        ("a.jsonl", '{"inputs": "a", "targets": []}', "targets: expected at least one"),
        ("a.jsonl", '{"inputs": "a", "targets": null}', "targets: .* found null"),
        ("a.tsv", "\ninputs\tinputs\ttargets\nx\ty\tz", "line 2: .* columns 'inputs'"),
        ("a.tsv", "targets\tinputs\ttargets\nx\ty\tz", "line 1: .* columns 'targets'"),
        ("a.tsv", "a\tinputs\ta\ttargets\nw\tx\ty\tz", "line 1: .* columns 'a'"),
        (
            "a.tsv",
            "inputs\ttargets\tchoices\nx\ta\ta|b|a",
            "line 2: choices: 'a' is there twice",
        ),
        *(
            (
                "a.jsonl",
                '{"inputs": "a", "targets": "b"}\n' + line,
                f"line 2.*{message}",
            )
            for line, message in (
                ('{"inputs": "a", "targets": "b", "inputs": "c"}', "'inputs' twice"),
                ('{"inputs": "a", "targets": "b", "x": {"y": 1, "y": 1}}', "'y' twice"),
                ('{"inputs": "\\ud800", "targets": "b"}', "half of a character"),
                ('{"inputs": "a", "targets": ["b", "\\udfff"]}', "half of a character"),
                ('{"inputs": "a", "targets": ["b", "b"]}', "targets: 'b' is there"),
                ('{"inputs": "a", "targets": ["1", 1]}', "targets: '1' is there"),
                (
                    '{"inputs": "a", "targets": "b", "choices": ["b", "c", "b"]}',
                    "choices: 'b' is there twice",
                ),
            )
        ),
        pytest.param(
            "a.jsonl",
            '{"inputs": "a", "targets": ' + 5000 * "9" + "}",
            "line 1 .* 5000 digits",
            id="digits",
        ),
        pytest.param(
            "a.jsonl", 100_000 * "[" + 100_000 * "]", "line 1 .* nested", id="deep"
        ),
    ],
)
def test_a_line_that_is_no_example(write, name, text, message):
    with pytest.raises(RecyclingError, match=message):
        read_examples(write(name, text))


def test_no_file(tmp_path):
    with pytest.raises(RecyclingError, match="cannot read .*nowhere.tsv"):
        read_examples(tmp_path / "nowhere.tsv")


def rows(name, split):
    return [
        (row["inputs_pretokenized"].decode(), row["targets_pretokenized"].decode())
        for row in examples(name, split)
    ]


@pytest.mark.thorough
def test_labels_with_verbalizers(write):
    train = write("train.tsv", "inputs\ttargets\nx\t0\ny\t1\n")
    dev = write("dev.tsv", "inputs\ttargets\nz\t1\n")
    name = from_files.mixture(
        "reviews", {"train": train, "validation": dev}, ("bad", "good")
    )
    assert name == "reviews"
    mixture = seqio.get_mixture_or_task("reviews")
    assert set(mixture.splits) == {"train", "validation"}
    assert rows("reviews_generation", "train") == [("x", "bad"), ("y", "good")]
    assert rows("reviews_generation", "validation") == [("z", "good")]
    assert rows("reviews_rank_classification", "validation") == [
        ("z", "bad"),
        ("z", "good"),
    ]
    ranking = seqio.get_mixture_or_task("reviews_rank_classification")
    assert list(ranking.splits) == ["validation"]


def test_named_labels(write):
    path = write("a.tsv", "inputs\ttargets\nx\tneg\n")
    from_files.mixture("named", {"test": path}, {"neg": "bad", "pos": "good"})
    assert rows("named_rank_classification", "test") == [("x", "bad"), ("x", "good")]


@pytest.mark.slow
@pytest.mark.thorough
def test_several_right_answers(write):
    """Trained on each, ranked with each of them right, each of them accepted."""
    path = write(
        "a.jsonl",
        jsonl(
            {
                "inputs": "x",
                "targets": ["good", "bad"],
                "choices": ["no", "good", "bad"],
            },
            {"inputs": "y", "targets": "no", "choices": ["no"]},
        ),
    )
    from_files.mixture("several", {"train": path, "validation": [path, path]})
    assert rows("several_generation", "train") == [
        ("x", "good"),
        ("x", "bad"),
        ("y", "no"),
    ]
    ranked = examples("several_rank_classification")
    assert len(ranked) == 2 * (3 + 1)
    assert [int(row["ranking"][2]) for row in ranked] == [0, 1, 1, 1] * 2
    evaluator = seqio.Evaluator(
        "several", seqio.EncDecFeatureConverter(pack=False), "validation"
    )
    vocabulary = evaluator.eval_tasks[0].output_features["targets"].vocabulary
    good = [*vocabulary.encode("good"), 1]
    scores = [-3.0, -2.0, -2.5, -9.0, -1.0, -2.0, -2.5, -9.0]
    future, _ = evaluator.evaluate(
        compute_metrics=True,
        predict_fn=lambda data: [(n, good) for n, _ in data.as_numpy_iterator()],
        score_fn=lambda data: list(enumerate(scores)),
    )
    metrics = future.result()
    # Four examples; `good` is right of those with x.
    assert metrics["several_generation"] == {"accuracy": 50.0}
    assert metrics["several_rank_classification"]["accuracy"] == 75.0


def test_without_choices_there_is_nothing_to_rank(write):
    path = write("a.tsv", "inputs\ttargets\nx\tsome text\n")
    from_files.mixture("free", {"validation": path})
    assert [task.name for task in seqio.get_subtasks(seqio.get_mixture_or_task("free"))]
    assert "free_rank_classification" not in seqio.TaskRegistry.names()
    with pytest.raises(RecyclingError, match="there are no choices to rank"):
        from_files.mixture("free2", {"test": path}, evaluate_by="rank_classification")


def test_training_data_need_no_choices(write):
    train = write("train.tsv", "inputs\ttargets\nx\ta\n")
    dev = write("dev.tsv", "inputs\ttargets\tchoices\nx\ta\ta|b\n")
    from_files.mixture("partly", {"train": train, "validation": dev})
    assert rows("partly_generation", "train") == [("x", "a")]
    ranked = rows("partly_rank_classification", "validation")
    assert ranked == [("x", "a"), ("x", "b")]


def test_a_line_without_the_choices_that_others_have(write):
    path = write("a.tsv", "inputs\ttargets\tchoices\nx\ta\ta|b\ny\ta\t\n")
    from_files.mixture("gap", {"test": path})
    with pytest.raises(RecyclingError, match="line 3: there are no choices to rank"):
        examples("gap_rank_classification", "test")


@pytest.mark.parametrize(
    ("evaluate_by", "evaluated"),
    [
        (None, {"generation", "rank_classification"}),
        ("generation", {"generation"}),
        ("rank_classification", {"rank_classification"}),
    ],
)
def test_evaluation_by_one_of_both(write, evaluate_by, evaluated):
    path = write("a.tsv", "inputs\ttargets\nx\t0\n")
    from_files.mixture(
        "one", {"train": path, "test": path}, ("bad", "good"), evaluate_by
    )
    mixture = seqio.get_mixture_or_task("one")
    evaluator = seqio.Evaluator("one", seqio.EncDecFeatureConverter(pack=False), "test")
    assert {task.name for task in evaluator.eval_tasks} == {
        f"one_{kind}" for kind in evaluated
    }
    assert "train" in mixture.splits


def test_asking_again_changes_nothing(write):
    """Gin evaluates a macro each time that it is used."""
    path = write("a.tsv", "inputs\ttargets\nx\t0\n")
    for _ in range(3):
        assert from_files.mixture("again", {"test": path}, ("bad", "good")) == "again"
    with pytest.raises(RecyclingError, match="there is another task .*'again'"):
        from_files.mixture("again", {"test": path}, ("worse", "better"))


def test_a_name_that_is_taken(write):
    path = write("a.tsv", "inputs\ttargets\nx\ty\n")
    with pytest.raises(RecyclingError, match="another task or mixture 'pr:glue_sst2"):
        from_files.mixture("pr:glue_sst2_v200", {"test": path})


SAME = "VERBALIZERS: .* are the same to the model"
VERBALIZERS = [
    (("good", "good"), SAME),
    (("good", " good"), SAME),
    (("good", "good\t"), SAME),
    (("bad good", "bad  good"), SAME),
    (("bad", "good", "bad"), SAME),
    ({"a": "good", "b": "good"}, SAME),
    # To the vocabulary, which knows neither word.
    (("qwertz", "asdf"), SAME),
    ({1: "bad", "1": "good"}, "a label is there twice"),
    (("good",), "texts of two or more labels"),
    ((), "texts of two or more labels"),
    ({}, "texts of two or more labels"),
    ((None, "good"), "expected the texts of two or more labels"),
    ((True, False), "expected the texts of two or more labels"),
    ((("good",), "bad"), "expected the texts of two or more labels"),
    (5, "expected the texts of two or more labels"),
]


@pytest.mark.parametrize(("verbalizers", "message"), VERBALIZERS)
@pytest.mark.parametrize("kind", ["generation", "rank_classification"])
def test_verbalizers_that_are_no_answers(write, verbalizers, message, kind):
    path = write("a.tsv", "inputs\ttargets\nx\t1\n")
    with pytest.raises(RecyclingError, match=message):
        from_files.mixture("same", {"test": path}, verbalizers)
        examples(f"same_{kind}", "test")


def test_choices_that_are_the_same_to_the_vocabulary(write):
    path = write(
        "a.tsv",
        "inputs\ttargets\tchoices\nx\tbad\tgood|bad\ny\tbad\tqwertz|bad|asdf\n",
    )
    from_files.mixture("unknown", {"test": path})
    with pytest.raises(RecyclingError, match="line 3: choices: 'qwertz' and 'asdf'"):
        examples("unknown_rank_classification", "test")


@pytest.mark.parametrize(
    ("text", "verbalizers", "message"),
    [
        ("x\t2", ("bad", "good"), "line 2: VERBALIZERS has no text for the label '2'"),
        ("x\t-1", ("bad", "good"), "no text for the label '-1'"),
        (
            "x\tpositve",
            {"positive": "good", "negative": "bad"},
            "Did you mean positive",
        ),
    ],
)
def test_a_label_without_a_text(write, text, verbalizers, message):
    path = write("a.tsv", f"inputs\ttargets\n{text}\n")
    from_files.mixture("labels", {"test": path}, verbalizers)
    with pytest.raises(RecyclingError, match=message):
        examples("labels_generation", "test")


def test_a_target_that_is_no_choice(write):
    path = write(
        "a.jsonl", jsonl({"inputs": "x", "targets": "d", "choices": ["a", "b"]})
    )
    from_files.mixture("other", {"test": path})
    with pytest.raises(
        RecyclingError, match="line 1: expected a target .* found d and"
    ):
        examples("other_generation", "test")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"files": {}}, "TASK_FILES: expected a file for each split"),
        ({"files": "a.tsv"}, "TASK_FILES: expected a file for each split"),
        ({"files": {"test": "nowhere.tsv"}}, "no file nowhere.tsv for the split test"),
        (
            {"verbalizers": "bad"},
            "VERBALIZERS: expected the texts of two or more labels",
        ),
        ({"evaluate_by": "ranking"}, "TASK_EVALUATION: .* found 'ranking'"),
    ],
)
def test_what_cannot_be_a_task(write, options, message):
    files = {"test": write("a.tsv", "inputs\ttargets\nx\ty\n")}
    with pytest.raises(RecyclingError, match=message):
        from_files.mixture(**{"name": "wrong", "files": files, **options})


def test_a_task_of_the_same_split_is_read_again_when_it_changes(write):
    path = write("a.tsv", "inputs\ttargets\nx\ty\n")
    from_files.mixture("changed", {"test": path})
    assert rows("changed_generation", "test") == [("x", "y")]
    write("a.tsv", "inputs\ttargets\nz\ty\n")
    assert rows("changed_generation", "test") == [("z", "y")]
