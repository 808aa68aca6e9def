"""One run at a time works in an output folder, whatever the program."""

import os
import types

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
from prompt_tuning_recycling.files import holding
from prompt_tuning_recycling.standalone import choosing, evaluation, inference

# What is looked at before a folder is held.
DATASET = types.SimpleNamespace(
    task_or_mixture=lambda: types.SimpleNamespace(tasks=[]),
    task_feature_lengths={"inputs": 4, "targets": 2},
)
PROGRAMS = {
    "EVAL_OUTPUT_DIR": lambda *paths: evaluation.evaluate(None, DATASET, *paths),
    "INFER_OUTPUT_DIR": lambda *paths: inference.infer(None, DATASET, *paths),
    "CHOOSE_OUTPUT_DIR": lambda *paths: choosing.choose(None, None, *paths),
}


@pytest.mark.parametrize("macro", PROGRAMS)
def test_a_folder_in_which_another_run_is_at_work(tmp_path, models, macro):
    lock = tmp_path / "run.lock"
    with holding.held(lock, "a training run is at work", "Wait."):
        with pytest.raises(holding.BusyError) as error:
            PROGRAMS[macro](models / "source", tmp_path)
        assert os.listdir(tmp_path) == ["run.lock"]
    # Gin adds the function that it passed through.
    message = str(error.value).split("\n")[0]
    assert f"another run is at work in {tmp_path}: process {os.getpid()} on " in message
    assert message.endswith(f"Wait until it ends, or choose another {macro}.")
