"""An evaluation's folder is written whole or not at all."""

import pytest

from prompt_tuning_recycling.evaluation import metrics_file

from .host import Target


def write(folder, prompt, fails=False):
    target = Target("task")
    with target.loggers.writing_to(str(folder), prompt, lambda: False):
        target.evaluate({})
        if fails:
            raise ZeroDivisionError


def test_it_has_the_metrics_the_prompt_and_the_configuration(tmp_path):
    write(tmp_path / "out", "digest")
    (record,) = metrics_file.read(metrics_file.place(str(tmp_path / "out"), "task"))
    assert record == {"step": 1, "accuracy": -1.0}
    assert metrics_file.read_prompt(str(tmp_path / "out")) == "digest"
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["config.gin", "inference_eval"]


def test_an_error_leaves_the_one_of_before(tmp_path):
    write(tmp_path / "out", "first")
    with pytest.raises(ZeroDivisionError):
        write(tmp_path / "out", "second", fails=True)
    assert metrics_file.read_prompt(str(tmp_path / "out")) == "first"
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["config.gin", "inference_eval"]


def test_nothing_is_logged_afterwards(tmp_path):
    target = Target("task")
    with target.loggers.writing_to(str(tmp_path / "out"), None, lambda: False):
        target.evaluate({})
    path = metrics_file.place(str(tmp_path / "out"), "task")
    target.evaluate({})
    assert len(metrics_file.read(path)) == 1
