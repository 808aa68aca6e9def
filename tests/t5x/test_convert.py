"""T5X restores a T5 of Hugging Face that was converted for it."""

from __future__ import annotations

import shutil

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from prompt_tuning_recycling.converting import convert
from prompt_tuning_recycling.models import open_model


@pytest.mark.parametrize("name", ["t5_v1_1_source", "t5_v1_1_target_sharded"])
def test_t5xs_own_network_has_the_logits_of_transformers(shared_data, tmp_path, name):
    from t5x.examples.t5 import network as t5x_network

    written = shared_data / "hf_written"
    done = convert(written / name, tmp_path / "checkpoint_0")
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        params = checkpointer.restore(done.path / "state")["target"]
    sizes = dict(open_model(written / name).network_sizes)
    module = t5x_network.Transformer(t5x_network.T5Config(dropout_rate=0.0, **sizes))
    inputs, shifted = (
        np.load(written / f"expected/{part}_input_tokens.npy")
        for part in ("encoder", "decoder")
    )
    found = module.apply(
        {"params": jax.tree.map(np.asarray, params)},
        inputs,
        shifted,
        np.ones_like(shifted),
        enable_dropout=False,
    )
    wanted = np.load(written / f"expected/{name}-logits.npy")
    np.testing.assert_allclose(found, wanted, atol=1e-4, rtol=0)


def test_t5x_infers_the_same_from_a_converted_model(
    start, shared_data, t5x_written, tmp_path
):
    original = t5x_written / "target_orbax/checkpoint_40"
    folder = convert(original, tmp_path / "hf").path
    shutil.copy(shared_data / "t5_vocab.model", folder / "spiece.model")
    step = convert(folder, tmp_path / "t5x/checkpoint_40").path
    # What T5X does not know lies in the step, too.
    assert (step / "spiece.model").is_file()
    predictions = []
    for path in (original, step):
        run = start("infer", INITIAL_CHECKPOINT_PATH=str(path), INFER_MODE="score")
        (file,) = run.must_work().folder.glob("*.jsonl-00000-of-00001")
        predictions.append(file.read_text())
    assert len(predictions[0].splitlines()) == 16
    assert predictions[0] == predictions[1]
