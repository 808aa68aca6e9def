"""Our network, T5X's own and flaxformer's give the same logits on one checkpoint."""

import pathlib

import numpy as np
import pytest
import t5x_program

from prompt_tuning_recycling import gin_path

HERE = pathlib.Path(__file__).resolve().parent


@pytest.fixture(scope="session")
def logits(programs, shared_data, t5x_written, tmp_path_factory):
    import prompt_tuning

    def logits(*files, prompt=None):
        folder = tmp_path_factory.mktemp("logits")
        if prompt is not None:
            np.save(folder / "prompt.npy", prompt)
        # Where prompt-tuning's gin files lie.
        root = pathlib.Path(prompt_tuning.__path__[0]).parent
        arguments = [
            str(folder / "logits.npy"),
            str(t5x_written / "target_orbax"),
            "" if prompt is None else str(folder / "prompt.npy"),
            f"{gin_path.gin_path()},{HERE / 'gin'},{root}",
            *files,
        ]
        environment = {"PROMPT_RECYCLING_DATA": str(shared_data)}
        process = programs.Process(
            target=t5x_program.run,
            args=("logits", arguments, str(folder / "log"), environment),
        )
        process.start()
        process.join()
        assert process.exitcode == 0, (folder / "log").read_text()[-4000:]
        return np.load(folder / "logits.npy")

    return logits


def test_without_a_prompt_as_t5xs_own(logits):
    ours, theirs = logits("target.gin"), logits("t5x_target.gin")
    assert np.abs(theirs).max() > 0.1
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_with_a_prompt_as_flaxformer(logits, recycle):
    prompt = recycle()
    ours = logits("target_prompt.gin", prompt=prompt)
    theirs = logits("flaxformer_logits.gin", prompt=prompt)
    without = logits("target.gin")
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    assert np.abs(ours - without).max() > 0.1  # The prompt is seen.
