"""Small T5 models in folders as transformers writes them, and what is in such a folder
by the library of safetensors."""

from __future__ import annotations

import json

import ml_dtypes
import numpy as np
import pytest
import safetensors

CONFIG = {
    "model_type": "t5",
    "vocab_size": 40,
    "d_model": 12,
    "d_kv": 5,
    "d_ff": 20,
    "num_layers": 2,
    "num_decoder_layers": 1,
    "num_heads": 3,
    "feed_forward_proj": "gated-gelu",
    "tie_word_embeddings": False,
}
DTYPES = {"float32": np.float32, "bfloat16": ml_dtypes.bfloat16}
CODES = {np.float32: "F32", ml_dtypes.bfloat16: "BF16", np.float16: "F16"}


def made_tensors(rng, dtype=np.float32, gated=True):
    """A whole model, by the names that transformers gives them."""

    def array(*shape):
        return rng.normal(size=shape).astype(dtype)

    made = {"shared.weight": array(40, 12), "lm_head.weight": array(40, 12)}
    for stack, blocks, names in (
        ("encoder", 2, ["SelfAttention", "DenseReluDense"]),
        ("decoder", 1, ["SelfAttention", "EncDecAttention", "DenseReluDense"]),
    ):
        made[f"{stack}.final_layer_norm.weight"] = array(12)
        for block in range(blocks):
            for number, name in enumerate(names):
                layer = f"{stack}.block.{block}.layer.{number}"
                made[f"{layer}.layer_norm.weight"] = array(12)
                shapes = {"q": (15, 12), "k": (15, 12), "v": (15, 12), "o": (12, 15)}
                if name == "DenseReluDense":
                    inner = ["wi_0", "wi_1"] if gated else ["wi"]
                    shapes = {**dict.fromkeys(inner, (20, 12)), "wo": (12, 20)}
                for part, shape in shapes.items():
                    made[f"{layer}.{name}.{part}.weight"] = array(*shape)
        bias = f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        made[bias] = array(32, 3)
    return made


def stored(folder):
    """Every tensor of a folder: name -> dtype, shape and bytes."""
    found = {}
    for file in sorted(folder.glob("*.safetensors")):
        for name, entry in safetensors.deserialize(file.read_bytes()):
            assert name not in found
            found[name] = entry["dtype"], tuple(entry["shape"]), bytes(entry["data"])
    return found


@pytest.fixture
def save(tmp_path):
    """Writes tensors and a configuration to a folder."""

    def save(tensors, name="hf", **changes):
        folder = tmp_path / name
        folder.mkdir()
        entries = {
            key: {
                "dtype": CODES[array.dtype.type],
                "shape": array.shape,
                "data": array.tobytes(),
            }
            for key, array in tensors.items()
        }
        # In the form that safetensors' own functions pass on.
        text = {name: {**e, "shape": list(e["shape"])} for name, e in entries.items()}
        _write(folder / "model.safetensors", text)
        (folder / "config.json").write_text(json.dumps({**CONFIG, **changes}))
        return folder

    return save


def _write(path, entries):
    header, data = {}, b""
    for name, entry in entries.items():
        end = len(data) + len(entry["data"])
        header[name] = {
            "dtype": entry["dtype"],
            "shape": entry["shape"],
            "data_offsets": [len(data), end],
        }
        data += entry["data"]
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
