"""Runs from a T5 folder of Hugging Face: with a model file, which is checked, or
without one (from_checkpoint.py, default_model.py)."""

import json
import pathlib
import re
import shutil

import numpy as np
import pytest
import safetensors.numpy

from prompt_tuning_recycling import RecyclingError, network
from prompt_tuning_recycling.evaluation import manifest
from prompt_tuning_recycling.evaluation.manifest import Evaluation
from prompt_tuning_recycling.gin_path import gin_path
from prompt_tuning_recycling.models import open_model
from prompt_tuning_recycling.standalone import from_checkpoint

from ..conftest import DEMO_MODELS

CONFIG = {
    "model_type": "t5",
    "vocab_size": 640,
    "d_model": 64,
    "d_kv": 16,
    "d_ff": 128,
    "num_layers": 2,
    "num_decoder_layers": 2,
    "num_heads": 4,
    "feed_forward_proj": "gated-gelu",
    "tie_word_embeddings": False,
}
# A layer or norm of this package -> its number in a block, and its name there.
LAYERS = {
    "attention": (0, "SelfAttention"),
    "self_attention": (0, "SelfAttention"),
    "encoder_decoder_attention": (1, "EncDecAttention"),
    "pre_attention_layer_norm": (0, "layer_norm"),
    "pre_self_attention_layer_norm": (0, "layer_norm"),
    "pre_cross_attention_layer_norm": (1, "layer_norm"),
}


def renamed(name):
    """Returns transformers' name of a parameter of the network."""
    stack, *path = name.split("/")
    last = 1 if stack == "encoder" else 2
    match path:
        case ["embedding"]:
            return "shared.weight"
        case ["logits_dense", "kernel"]:
            return "lm_head.weight"
        case ["relpos_bias", _]:
            layer = f"{stack}.block.0.layer.0.SelfAttention"
            return f"{layer}.relative_attention_bias.weight"
        case ["encoder_norm" | "decoder_norm", _]:
            return f"{stack}.final_layer_norm.weight"
        case [block, "mlp" | "pre_mlp_layer_norm" as layer, *part]:
            number, layer_name = last, "DenseReluDense"
            if layer == "pre_mlp_layer_norm":
                layer_name = "layer_norm"
        case [block, layer, *part]:
            number, layer_name = LAYERS[layer]
    block = f"{stack}.block.{block.removeprefix('layers_')}.layer.{number}.{layer_name}"
    if layer_name == "layer_norm":
        return f"{block}.weight"
    part = part[0] if part[0].startswith("w") else part[0][0]
    return f"{block}.{part}.weight"


@pytest.fixture
def hf(tmp_path):
    """The demo's source model in a folder as transformers writes it."""
    folder = tmp_path / "hf"
    folder.mkdir()
    tensors = {}
    for name, array in open_model(DEMO_MODELS / "source").parameters.items():
        is_table = name == "token_embedder/embedding"
        is_transposed = array.read().ndim == 2 and not is_table
        read = array.read().T if is_transposed else array.read()
        tensors[renamed(name)] = np.ascontiguousarray(read)
    assert len(tensors) == 52
    safetensors.numpy.save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    shutil.copy(DEMO_MODELS / "vocabulary.model", folder / "spiece.model")
    return folder


def configure(folder, **changes):
    (folder / "config.json").write_text(json.dumps({**CONFIG, **changes}))


EVAL = "runs/standalone/eval.gin"
INFER = "runs/standalone/infer.gin"
PROMPT_FINETUNE = "runs/standalone/prompt_finetune.gin"
TASK = {
    "MIXTURE_OR_TASK_MODULE": "tiny_tasks",
    "MIXTURE_OR_TASK_NAME": "tiny_ranked",
    "TASK_FEATURE_LENGTHS": {"inputs": 6, "targets": 2},
}


@pytest.mark.slow
@pytest.mark.thorough
def test_an_evaluation_of_the_same_numbers(
    start, evaluate, metrics, hf, tiny_without, tmp_path
):
    outputs = [str(tmp_path / name) for name in ("of_t5x", "of_hf", "named")]
    source = str(DEMO_MODELS / "source")
    evaluate(tiny_without, INITIAL_CHECKPOINT_PATH=source, EVAL_OUTPUT_DIR=outputs[0])
    macros = {**TASK, "INITIAL_CHECKPOINT_PATH": str(hf)}
    result = start("eval", [EVAL], EVAL_OUTPUT_DIR=outputs[1], **macros)
    assert result.code == 0, result.error
    evaluate(tiny_without, INITIAL_CHECKPOINT_PATH=str(hf), EVAL_OUTPUT_DIR=outputs[2])
    (_, of_t5x), (_, of_hf), (_, of_named) = (metrics(o)[0] for o in outputs)
    assert of_t5x == of_hf == of_named


@pytest.mark.slow
def test_a_prompt_is_tuned_evaluated_and_inferred(start, hf, tmp_path, exported):
    macros = {**TASK, "INITIAL_CHECKPOINT_PATH": str(hf)}
    tuned = tmp_path / "tuned"
    result = start(
        "train",
        ["prompts/from_sampled_vocab.gin", PROMPT_FINETUNE],
        **macros,
        MODEL_DIR=str(tuned),
        PROMPT_LENGTH=4,
        TRAIN_STEPS=2,
        BATCH_SIZE=8,
        EVAL_PERIOD=0,
    )
    assert result.code == 0, result.error
    assert exported(tuned, 2).shape == (4, 64)
    prompt = str(tuned / "numpy_checkpoints/checkpoint_2/encoder.prompt.prompt.prompt")
    result = start(
        "infer",
        ["prompts/from_file.gin", INFER],
        **{**macros, "MIXTURE_OR_TASK_NAME": "tiny_generated"},
        INFER_OUTPUT_DIR=str(tmp_path / "inferred"),
        PROMPT_FILE=prompt,
        PROMPT_LENGTH=4,
    )
    assert result.code == 0, result.error
    listed = [
        Evaluation(str(tmp_path / "out/none"), no_prompt=True),
        Evaluation(str(tmp_path / "out/tuned"), prompt=prompt),
    ]
    manifest.write(tmp_path / "manifest.json", listed)
    result = start(
        "evaluate_prompts",
        ["runs/standalone/evaluate_prompts.gin"],
        **macros,
        PROMPT_MANIFEST=str(tmp_path / "manifest.json"),
        PROMPT_LENGTH=4,
    )
    assert result.code == 0, result.error
    assert "2 of 2: " in result.out


def test_a_model_file_that_is_another_models(evaluate, hf, tiny_without, tmp_path):
    configure(hf, d_model=32, num_heads=2)
    error = evaluate(
        tiny_without,
        fails=True,
        INITIAL_CHECKPOINT_PATH=str(hf),
        EVAL_OUTPUT_DIR=str(tmp_path / "eval"),
    ).error
    assert "says emb_dim = 32, num_heads = 2, but the model file says 64, 4." in error
    assert "Name the model file for this checkpoint, or none" in error
    assert len(error.splitlines()) == 1


def test_a_configuration_that_is_another_models(start, hf, tmp_path):
    configure(hf, num_layers=3)
    macros = {**TASK, "INITIAL_CHECKPOINT_PATH": str(hf)}
    result = start("eval", [EVAL], EVAL_OUTPUT_DIR=str(tmp_path / "eval"), **macros)
    assert result.code != 0
    assert "lacks 9 of the model's 61 parameters, first encoder/layers_2/" in (
        result.error
    )
    assert "Its configuration says otherwise" in result.error


def test_a_checkpoint_without_a_configuration(start, tmp_path):
    macros = {**TASK, "INITIAL_CHECKPOINT_PATH": str(DEMO_MODELS / "source")}
    result = start("eval", [EVAL], EVAL_OUTPUT_DIR=str(tmp_path / "eval"), **macros)
    assert result.code != 0
    assert "no model file was named, and" in result.error
    assert "--gin_file=models/t5_1_1_base_prompt.gin" in result.error


@pytest.mark.parametrize(
    ("program", "files", "macros", "length"),
    [
        ("eval", [EVAL], {}, "0"),
        ("eval", [EVAL], {"PROMPT_LENGTH": 7}, "7"),
        ("infer", ["prompts/random_uniform.gin", INFER], {}, "100"),
        ("train", [PROMPT_FINETUNE], {}, "100"),
        ("train", [PROMPT_FINETUNE], {"PROMPT_LENGTH": 7}, "7"),
        ("train", ["runs/standalone/finetune.gin"], {}, "0"),
        ("evaluate_prompts", ["runs/standalone/evaluate_prompts.gin"], {}, "100"),
        ("train", ["models/from_checkpoint.gin", PROMPT_FINETUNE], {}, "0"),
    ],
)
def test_whether_there_is_a_prompt(start, hf, tmp_path, program, files, macros, length):
    text = (pathlib.Path(gin_path()) / files[-1]).read_text()
    required = re.findall(r"^(\w+) = %gin.REQUIRED", text, re.MULTILINE)
    outputs = {name: TASK.get(name, str(tmp_path / name)) for name in required}
    macros = {**TASK, **outputs, **macros, "INITIAL_CHECKPOINT_PATH": str(hf)}
    if program == "train":
        macros |= {"MODEL_DIR": str(tmp_path / "run")}
    # What the command line sets, the default model file does not change.
    macros |= {"DTYPE": "bfloat16", "DROPOUT_RATE": 0.25}
    result = start(program, files, "--dry_run", **macros)
    assert result.code == 0, result.error
    stated = dict(re.findall(r"^ *([\w.]+) = (.*)$", result.out, re.MULTILINE))
    found = stated["from_checkpoint.network_of.prompt_length"]
    assert (stated["PROMPT_LENGTH"] if found == "%PROMPT_LENGTH" else found) == length
    assert stated["DTYPE"] == "'bfloat16'"
    assert stated["DROPOUT_RATE"] == "0.25"


def test_the_network_of_a_checkpoint(hf):
    found = from_checkpoint.network_of(hf, 7, "bfloat16", 0.25)
    assert found == network.Transformer(
        network.T5Config(
            vocab_size=640,
            dtype="bfloat16",
            emb_dim=64,
            num_heads=4,
            num_encoder_layers=2,
            num_decoder_layers=2,
            head_dim=16,
            mlp_dim=128,
            dropout_rate=0.25,
            prompt_length=7,
        )
    )


def test_the_vocabulary_beside_it(hf):
    def of(path):
        return from_checkpoint.vocabulary_file(path, "elsewhere")

    assert of(hf) == str(hf / "spiece.model")
    (hf / "spiece.model").unlink()
    assert of(hf) == "elsewhere"
    with pytest.raises(RecyclingError, match="does not exist"):
        of(hf / "nowhere")
