"""Files that people give by mistake: what they are, and what to give instead."""

from __future__ import annotations

from collections.abc import Collection

_SAVE = (
    "Save the model as safetensors: in transformers, load it and call "
    "save_pretrained(FOLDER, safe_serialization=True)."
)

# By the first bytes. None of these is ever loaded.
_STARTS = {
    b"PK\x03\x04": f"a zip archive (.npz, or a PyTorch file). {_SAVE}",
    **dict.fromkeys(
        (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"),
        "a pickle, which is never loaded because doing so runs code from it. " + _SAVE,
    ),
    b"\x89HDF\r\n\x1a\n": f"an HDF5 file, such as Keras writes. {_SAVE}",
    b"GGUF": "a GGUF file, whose numbers are usually quantized. Give the model that it "
    "was made from.",
    b"version https://git-lfs": "a pointer of Git LFS instead of the file itself. "
    "Fetch the file with git lfs pull.",
    b"model_checkpoint_path": "a TensorFlow checkpoint's index.",
}

# By their names' endings, in a folder without a model that can be read.
_ENDINGS = (".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack")


START_BYTES = 32
"""How many of a file's first bytes tell what it is."""


def what_it_is(start: bytes) -> str | None:
    """Returns what a file is that cannot be read, and what to do; or None.

    Args:
      start: its first `START_BYTES` bytes, or all if it has fewer.
    """
    return next(
        (what for magic, what in _STARTS.items() if start.startswith(magic)), None
    )


def advice_for_folder(names: Collection[str]) -> str:
    """Returns what to do about a folder with these files, or an empty text."""
    shards = [name for name in names if name.endswith(".safetensors")]
    if shards:
        return (
            f" To read only {shards[0]}, give its path; a model in several files needs "
            "its index, model.safetensors.index.json."
        )
    if "adapter_config.json" in names and "adapter_model.bin" not in names:
        return (
            " adapter_config.json describes adapter_model.safetensors, which is "
            "missing. Copy or download the whole adapter."
        )
    weights = [name for name in names if name.endswith(_ENDINGS)]
    return f" {weights[0]} is not read. {_SAVE}" if weights else ""
