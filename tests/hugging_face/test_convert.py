"""transformers loads what is converted, and computes the same with it."""

from __future__ import annotations

import numpy as np
import pytest

from prompt_tuning_recycling.converting import convert
from prompt_tuning_recycling.models import open_model

from ..converting.conftest import DTYPES, made_tensors
from ..converting.conftest import save as save

TOLERANCE = 1e-5


def logits(folder, inputs, decoder_inputs, dtype="auto"):
    import torch
    import transformers

    model, loading = transformers.T5ForConditionalGeneration.from_pretrained(
        folder, dtype=dtype, output_loading_info=True
    )
    # Every tensor found its place, and no place is left.
    assert not any(loading.values()), loading
    inputs, decoder_inputs = (
        torch.tensor(array.astype(np.int64)) for array in (inputs, decoder_inputs)
    )
    with torch.no_grad():
        found = model.eval()(
            input_ids=inputs,
            attention_mask=(inputs != 0).long(),
            decoder_input_ids=decoder_inputs,
        )
    return found.logits.float().numpy()


@pytest.fixture
def tokens(shared_data):
    folder = shared_data / "hf_written/expected"
    names = ("encoder_input_tokens", "decoder_input_tokens")
    return [np.load(folder / f"{name}.npy") for name in names]


@pytest.mark.parametrize("dtype", [None, "bfloat16"])
@pytest.mark.parametrize(
    "name",
    ["t5_v1_0_tied", "t5_v1_1_bfloat16", "t5_v1_1_source", "t5_v1_1_target_sharded"],
)
def test_there_and_back(shared_data, tmp_path, tokens, name, dtype):
    folder = shared_data / "hf_written" / name
    step = convert(folder, tmp_path / "checkpoint_0", dtype=dtype).path
    back = convert(step, tmp_path / "back", largest=50_000).path
    found = logits(back, *tokens)
    wanted = logits(folder, *tokens, dtype=dtype or "auto")
    np.testing.assert_allclose(found, wanted, atol=TOLERANCE, rtol=0)
    if dtype is None and "bfloat16" not in name:
        expected = np.load(shared_data / f"hf_written/expected/{name}-logits.npy")
        np.testing.assert_allclose(found, expected, atol=1e-4, rtol=0)


def test_a_model_that_t5x_wrote(shared_data, tmp_path):
    """Its output layer is its own, and its logits are those of the network."""
    import flax.traverse_util

    from prompt_tuning_recycling import network

    step = shared_data / "t5x_written/target_orbax/checkpoint_40"
    folder = convert(step, tmp_path / "hf").path
    rng = np.random.default_rng(0)
    inputs, decoder_inputs = (rng.integers(2, 32000, (2, n)) for n in (30, 20))
    inputs[1, 10:] = 0
    found = logits(folder, inputs, decoder_inputs)
    module = network.Transformer(network.T5Config(**open_model(folder).network_sizes))
    params = {name: array.read() for name, array in open_model(step).parameters.items()}
    wanted = module.apply(
        {"params": flax.traverse_util.unflatten_dict(params, sep="/")},
        inputs,
        decoder_inputs,
        np.ones_like(decoder_inputs),
        enable_dropout=False,
    )
    np.testing.assert_allclose(found, wanted, atol=1e-4, rtol=0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("own_output", [True, False])
@pytest.mark.parametrize("proj", ["gated-gelu", "relu", "gated-silu"])
def test_small_models(rng, save, tmp_path, dtype, own_output, proj):
    tensors = made_tensors(rng, DTYPES[dtype], proj.startswith("gated"))
    if not own_output:
        del tensors["lm_head.weight"]
    folder = save(tensors, feed_forward_proj=proj, tie_word_embeddings=not own_output)
    _with_metadata(folder)
    step = convert(folder, tmp_path / "checkpoint_0").path
    back = convert(step, tmp_path / "back", activation=proj).path
    inputs, decoder_inputs = rng.integers(2, 40, (2, 9)), rng.integers(2, 40, (2, 5))
    found, wanted = (logits(one, inputs, decoder_inputs) for one in (back, folder))
    np.testing.assert_allclose(found, wanted, atol=TOLERANCE, rtol=0)


def _with_metadata(folder):
    """transformers reads no file that does not say for whom it was written."""
    import safetensors.torch

    file = folder / "model.safetensors"
    tensors = safetensors.torch.load_file(file)
    safetensors.torch.save_file(tensors, file, metadata={"format": "pt"})
