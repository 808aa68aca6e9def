"""`adapter_config.json`, by which PEFT describes an adapter.

Source: https://github.com/huggingface/peft, src/peft/config.py, src/peft/peft_model.py
and src/peft/utils/peft_types.py.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import types
from collections.abc import Mapping
from typing import Any

from etils import epath

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files import as_path, is_remote, storage_errors
from prompt_tuning_recycling.files.json_files import read_json

NAME = "adapter_config.json"
"""The name of the file, beside the adapter's tensors."""

BASE = "base_model_name_or_path"
"""The key of the model that an adapter was tuned on: a folder, or a name on the hub."""

SITES: Mapping[str, str] = types.MappingProxyType(
    {"SEQ_2_SEQ_LM": "encoder", "CAUSAL_LM": "decoder"}
)
"""`task_type` -> the site of the prompt. For an encoder-decoder, PEFT stores two
prompts, one after the other, and puts the first before the encoder's inputs."""

_OF_TASKS = "MULTITASK_PROMPT_TUNING"
_KINDS = ("PROMPT_TUNING", "P_TUNING", _OF_TASKS)

_KEYS_AND_VALUES = "it holds keys and values for every layer instead of embeddings"
_WEIGHTS = "it changes the model's weights and holds no prompt"
_CHANGES_WEIGHTS = (
    "LORA ADALORA XLORA IA3 LOHA LOKR OFT BOFT VERA VBLORA RANDLORA POLY HRA FOURIERFT "
    "LN_TUNING BONE MISS ROAD C3A SHIRA TRAINABLE_TOKENS"
)
_REFUSED = {
    "PREFIX_TUNING": _KEYS_AND_VALUES,
    "CARTRIDGE": _KEYS_AND_VALUES,
    "ADAPTION_PROMPT": "its prompts are inside the layers' attention",
    "CPT": "its vectors are corrections of a text's embeddings",
    **dict.fromkeys(_CHANGES_WEIGHTS.split(), _WEIGHTS),
}


@dataclasses.dataclass(frozen=True)
class AdapterConfig:
    """The description of a prompt among embeddings.

    Attributes:
      folder: where the adapter is.
      kind: PEFT's `peft_type`.
      site: the site of the prompt: `encoder` or `decoder`.
      length: how many vectors it has.
      stored_rows: how many are stored, those that are not used included.
      width: their width; None if it is the base model's.
      tasks: how many tasks share the prompt; 0 if it is for one.
      rank: the rank of the tasks' matrices; 0 if there are none.
      base: the model it was tuned on, as the description names it.
    """

    folder: epath.Path
    kind: str
    site: str
    length: int
    stored_rows: int
    width: int | None
    tasks: int
    rank: int
    base: str | None

    def base_folder(self) -> epath.Path:
        """Returns the folder of the model that the adapter was tuned on. Nothing is
        downloaded.

        Raises:
          RecyclingError: the description names no folder that exists.
        """
        if (found := _folder(self.base)) is not None:
            return found
        named = f"names the model {self.base!r}" if self.base else "names no model"
        raise RecyclingError(
            f"{self.folder} is an adapter and holds no model. Its {NAME} {named}; "
            "expected a folder on this machine, because nothing is downloaded. Give "
            "the folder of the model that the adapter was tuned on: --source_model, in "
            "gin SOURCE_CHECKPOINT."
        )


def read_config(folder: epath.Path) -> AdapterConfig:
    """Returns the description of the adapter in a folder.

    Raises:
      RecyclingError: there is none, it is damaged, or the adapter is not a prompt among
        embeddings, or not only a prompt.
    """
    config = _read(folder)
    kind, site = _checked_kind(config, folder)
    halves = _halves(site)
    given = _whole_number(config, "num_transformer_submodules", folder, halves)
    if given > halves:
        raise RecyclingError(
            f"{folder}: expected num_transformer_submodules in {NAME} to be "
            f"{'1 or 2' if halves == 2 else '1'} for {config['task_type']}, found "
            f"{given}. Save or download the adapter again."
        )
    length = _whole_number(config, "num_virtual_tokens", folder)
    of_tasks = kind == _OF_TASKS
    has_width = config.get("token_dim") is not None
    base = config.get(BASE)
    return AdapterConfig(
        folder=folder,
        kind=kind,
        site=site,
        length=length,
        stored_rows=length * given,
        width=_whole_number(config, "token_dim", folder) if has_width else None,
        tasks=_whole_number(config, "num_tasks", folder) if of_tasks else 0,
        rank=_whole_number(config, "num_ranks", folder) if of_tasks else 0,
        base=base if isinstance(base, str) else None,
    )


def described(
    site: str, length: int, width: int, base: epath.PathLike | None
) -> dict[str, Any]:
    """Returns the description of a prompt, for PEFT to read.

    Args:
      site: the site of the prompt: `encoder` or `decoder`.
      length: how many vectors it has; of an encoder's, twice as many are stored.
      width: their width.
      base: the folder of the model that it is for, if transformers can load it.
    """
    (of_task,) = (task for task, its_site in SITES.items() if its_site == site)
    return {
        "auto_mapping": None,
        BASE: None if base is None else os.fspath(base),
        "inference_mode": True,
        # PEFT takes these two from the model.
        "num_attention_heads": None,
        "num_layers": None,
        "num_transformer_submodules": _halves(site),
        "num_virtual_tokens": length,
        "peft_type": _KINDS[0],
        "prompt_tuning_init": "RANDOM",
        "prompt_tuning_init_text": None,
        "revision": None,
        "task_type": of_task,
        "token_dim": width,
        "tokenizer_name_or_path": None,
    }


def base_of(folder: epath.Path) -> epath.Path | None:
    """Returns the folder of the model that the adapter in a folder was tuned on; None
    if it names none that exists, or there is no adapter.

    Raises:
      RecyclingError: the description is damaged.
    """
    if not (folder / NAME).is_file():
        return None
    return _folder(_read(folder).get(BASE))


def _halves(site: str) -> int:
    """Returns how many prompts PEFT stores, one after the other."""
    return 2 if site == "encoder" else 1


def _folder(base: object) -> epath.Path | None:
    if not isinstance(base, str) or not base:
        return None
    # It may be anything, such as an address that cannot be read.
    with contextlib.suppress(*storage_errors(RecyclingError)):
        path = as_path(base)
        # Whoever made the adapter does not choose what is asked of the network.
        return path if not is_remote(path) and path.is_dir() else None
    return None


def _read(folder: epath.Path) -> dict[str, Any]:
    file = folder / NAME
    if not file.exists():
        raise RecyclingError(
            f"{folder} lacks {NAME}, which says what kind of adapter it holds. Copy or "
            "download the whole adapter again."
        )
    config = read_json(file, "the adapter's description")
    if not isinstance(config, dict):
        raise RecyclingError(
            f"{file} does not describe an adapter: expected a JSON object, found "
            f"{type(config).__name__}. Copy or download the adapter again."
        )
    return config


def _checked_kind(config: Mapping[str, Any], folder: epath.Path) -> tuple[str, str]:
    """Returns the adapter's kind and the site of its prompt."""
    kind, of_task = config.get("peft_type"), config.get("task_type")
    if not isinstance(kind, str) or kind not in _KINDS:
        why = "this kind of adapter is not known"
        if isinstance(kind, str):
            why = _REFUSED.get(kind, why)
        raise RecyclingError(
            f"{folder} cannot be used as a prompt: its peft_type is {_shown(kind)}, "
            f"and {why}. Expected an adapter of {', '.join(_KINDS[:-1])} or "
            f"{_KINDS[-1]}."
        )
    if not isinstance(of_task, str) or of_task not in SITES:
        raise RecyclingError(
            f"{folder} cannot be used as a prompt: its task_type is "
            f"{_shown(of_task)}. Expected {' or '.join(SITES)}: for other tasks, PEFT "
            "tunes a part of the model with the prompt."
        )
    if trained := config.get("modules_to_save"):
        raise RecyclingError(
            f"{folder} cannot be used as a prompt: parts of the model were tuned with "
            f"it (modules_to_save is {_shown(trained)}), and they cannot be carried "
            "over. Expected a prompt alone."
        )
    return kind, SITES[of_task]


def _whole_number(
    config: Mapping[str, Any], key: str, folder: epath.Path, default: int | None = None
) -> int:
    value = config.get(key)
    if value is None and default is not None:
        return default
    if type(value) is not int or value < 1:
        raise RecyclingError(
            f"{folder}: expected {key} in {NAME} to be a whole number above 0, found "
            f"{_shown(value)}. Save or download the adapter again."
        )
    return value


def _shown(value: object) -> str:
    return "missing" if value is None else str(value)[:80]
