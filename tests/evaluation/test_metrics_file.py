"""The files that hold an evaluation's metrics."""

import pytest

from prompt_tuning_recycling import RecyclingError
from prompt_tuning_recycling.evaluation import metrics_file


def write(path, content):
    path.write_bytes(content)
    return path


def test_a_file_has_a_line_for_each_evaluation(tmp_path):
    path = write(tmp_path / "m", b'{"step": 1, "a": 2.5}\n\n{"step": 3, "a": null}\n')
    assert metrics_file.read(path) == [{"step": 1, "a": 2.5}, {"step": 3, "a": None}]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b'{"step": 1, "a": 2}', "its last line has no end"),
        (b'{"step": 1, "a": "\xff"}\n', "not UTF-8"),
        (b'{"step": 1, "a": 2}\n[1]\n', "line 2 is not an object"),
        (b'{"step": true, "a": 2}\n', "no whole number as its step"),
        (b'{"a": 2}\n', "no whole number as its step"),
        (b'{"step": 1}\n', "has no metrics"),
    ],
)
def test_a_damaged_file_is_named_with_what_is_wrong(tmp_path, content, message):
    path = write(tmp_path / "m", content)
    with pytest.raises(RecyclingError, match=message) as caught:
        metrics_file.read(path)
    assert str(caught.value).startswith(str(path))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(RecyclingError, match="m: No such file"):
        metrics_file.read(tmp_path / "m")


def test_metrics_go_to_one_folder():
    assert metrics_file.metrics_folder("out") == "out/inference_eval"
    assert metrics_file.place("out", "task") == "out/inference_eval/task-metrics.jsonl"


def test_metrics_as_text():
    metrics = {"one": {"accuracy": 93.75001, "count": 3}, "two": {"f1": 1e-5}}
    assert metrics_file.metric_lines(metrics) == [
        "one: accuracy 93.75, count 3",
        "two: f1 1e-05",
    ]
