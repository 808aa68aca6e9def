"""What gin calls when it has read everything: see the package's description."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import gin.config
from etils import epath

from prompt_tuning_recycling.errors import RecyclingError, did_you_mean
from prompt_tuning_recycling.files import absolute, as_list, as_path, is_remote
from prompt_tuning_recycling.files.guard import Paths, check_apart
from prompt_tuning_recycling.macros.given import given_names
from prompt_tuning_recycling.macros.kinds import (
    IN_STANDALONE,
    MACROS,
    Kind,
    Lengths,
    Texts,
)
from prompt_tuning_recycling.macros.values import (
    MACRO,
    Config,
    MadeLaterError,
    resolved,
    stated_macros,
    used_macros,
)
from prompt_tuning_recycling.models import read_places

_HOSTS = ("standalone", "t5x_host")
_STANDALONE = "prompt_tuning_recycling.standalone."
_INITIAL_PROMPTS = "prompt_tuning_recycling.initial_prompts."

# These say which prompt a run starts from. Without the file that uses them, the run
# would start from a different prompt.
_RECYCLED, _FROM_FILE = f"{_INITIAL_PROMPTS}Recycled", f"{_INITIAL_PROMPTS}FromFile"
_RECYCLING = ({_RECYCLED}, "recycle_init.gin")
_CHOOSING = ({"prompt_tuning_recycling.choosing.chooser.Chooser"}, "choose_init.gin")
_USED_BY: Mapping[str, tuple[set[str], str]] = {
    "RECYCLE_FROM": _RECYCLING,
    "SOURCE_CHECKPOINT": _RECYCLING,
    "SOURCE_PROMPT": _RECYCLING,
    "TARGET_CHECKPOINT": _RECYCLING,
    "RECYCLER": _RECYCLING,
    "WORD_LIST": _RECYCLING,
    "NUM_WORDS": _RECYCLING,
    "WORD_OFFSET": _RECYCLING,
    "SOURCE_VOCABULARY": _RECYCLING,
    "TARGET_VOCABULARY": _RECYCLING,
    "ALLOW_FEW_WORDS": _RECYCLING,
    "EMBEDDING_NAME": _RECYCLING,
    "SOURCE_EMBEDDING_NAME": _RECYCLING,
    "TARGET_EMBEDDING_NAME": _RECYCLING,
    "PROMPT_NAME": ({_RECYCLED, _FROM_FILE}, "recycle_init.gin"),
    "PROMPT_TASK": ({_RECYCLED, _FROM_FILE}, "recycle_init.gin"),
    "CANDIDATES": _CHOOSING,
    "UNLABELED_TASK_NAME": _CHOOSING,
    "UNLABELED_SPLIT": _CHOOSING,
    "NUM_UNLABELED": _CHOOSING,
    "UNLABELED_SEED": _CHOOSING,
    "USE_TEACHER": _CHOOSING,
    "TEACHER_SCORES": _CHOOSING,
    "REFINE_STEPS": _CHOOSING,
    "REFINE_LEARNING_RATE": _CHOOSING,
    "PROMPT_FILE": ({_FROM_FILE}, "prompts/from_file.gin"),
    "CLASS_LABELS": ({f"{_INITIAL_PROMPTS}FromText"}, "prompts/from_class_labels.gin"),
}

# The names that a user's gin files may set although nothing uses them.
_PERMITTED = "UNUSED_MACROS"

# In the package's files these only stand for others, which may be set instead.
_STAND_INS = {"RECYCLE_FROM", "INITIAL_CHECKPOINT_PATH", "MIXTURE_OR_TASK_NAME"}

# Checkpoints and prompts that a run reads, other files that it reads, and the folders
# that it writes to.
_CHECKPOINTS = (
    "INITIAL_CHECKPOINT_PATH",
    "CHECKPOINT_PATH",
    "SOURCE_CHECKPOINT",
    "SOURCE_PROMPT",
    "TARGET_CHECKPOINT",
    "PROMPT_FILE",
)
_FILES = (
    "WORD_LIST",
    "VOCABULARY_FILE",
    "SOURCE_VOCABULARY",
    "TARGET_VOCABULARY",
    "PROMPT_MANIFEST",
    "TEACHER_SCORES",
)
_OUTPUTS = ("MODEL_DIR", "EVAL_OUTPUT_DIR", "INFER_OUTPUT_DIR", "CHOOSE_OUTPUT_DIR")
# Of both hosts; they write the file that TEACHER_SCORES names.
_TEACH = {f"prompt_tuning_recycling.{host}.choosing.teach" for host in _HOSTS}


def check(config: Config) -> dict[str, Any]:
    """Checks the macros of a configuration. Gin calls it after reading everything.

    Returns:
      The changes for gin to make: paths whose `~` was expanded, or that T5X needs to be
      absolute.

    Raises:
      RecyclingError: a macro has a value that is not allowed, nothing uses a macro, or
        a run would write where it reads.
    """
    macros = stated_macros(config)
    used = used_macros(config)
    configurables = {configurable for _, configurable in config}
    _check_used(macros, used, configurables, given_names())
    in_t5x = any(name.startswith("t5x.") for name in configurables)
    standalone = any(name.startswith(_STANDALONE) for name in configurables)
    kinds = {**MACROS, **IN_STANDALONE} if standalone else MACROS
    expanded: dict[str, Any] = {}
    paths: dict[str, list[epath.Path]] = {}
    for name, stated in macros.items():
        if name not in kinds or name not in used:
            continue
        # Other packages also have macros with these names.
        if name in _USED_BY and not _USED_BY[name][0] & configurables:
            continue
        try:
            value = resolved(stated, macros)
        except MadeLaterError:
            continue
        kind = kinds[name]
        if not kind.allows(value):
            raise RecyclingError(
                f"{name}: expected {kind.expected}, found {value!r}."
                + _misspelt_feature(name, value)
            )
        if kind.is_path and value is not None:
            paths[name] = [as_path(path) for path in as_list(value)]
            if stated != (plain := _plain(stated, in_t5x)):
                expanded[f"{name}/{MACRO}.value"] = plain
    _check_apart(paths, teaches=bool(_TEACH & configurables))
    return expanded


def _plain(stated: Any, in_t5x: bool) -> Any:
    """Returns a path, or a list of them, with a leading `~` expanded. T5X also needs
    absolute paths: it does not save to others.
    """
    if isinstance(stated, (list, tuple)):
        return type(stated)(_plain(path, in_t5x) for path in stated)
    if isinstance(stated, str) and stated and (in_t5x or stated.startswith("~")):
        return absolute(stated) if in_t5x else os.fspath(as_path(stated))
    return stated


def _check_apart(paths: Mapping[str, Sequence[epath.Path]], teaches: bool) -> None:
    """Checks that a run does not write where it reads."""
    outputs = {name: paths[name][0] for name in _OUTPUTS if name in paths}
    replaced = {}
    if teaches and "TEACHER_SCORES" in paths:
        replaced["TEACHER_SCORES"] = paths["TEACHER_SCORES"][0]
    # A bucket and a disk never overlap, so no bucket has to be listed for a local run.
    places = {is_remote(path) for path in (*outputs.values(), *replaced.values())}
    read = {
        name: [path for path in given if is_remote(path) in places]
        for name, given in paths.items()
        if name not in replaced
    }
    inputs: dict[str, Paths] = {name: read[name] for name in _FILES if name in read}
    for name in _CHECKPOINTS:
        if name in read:
            inputs[name] = [place for path in read[name] for place in read_places(path)]
    if "MODEL_DIR" in outputs:
        # A run's exported prompts replace those of an earlier run.
        replaced["MODEL_DIR/numpy_checkpoints"] = (
            outputs["MODEL_DIR"] / "numpy_checkpoints"
        )
    check_apart(inputs, replaced, outputs)


def _check_used(
    macros: Mapping[str, Any],
    used: set[str],
    configurables: set[str],
    given: Collection[str],
) -> None:
    permitted = macros.get(_PERMITTED, ())
    if not Kind(Texts | tuple[()], "").allows(permitted):
        raise RecyclingError(
            f"{_PERMITTED}: expected a list of names of macros, found {permitted!r}."
        )
    for name in macros:
        if name in used or name in permitted or name == _PERMITTED:
            continue
        if name not in MACROS:
            raise RecyclingError(
                f"nothing in these gin files uses {name}."
                + did_you_mean(name, used | MACROS.keys())
                + f" To allow it, set {_PERMITTED} = [{name!r}]."
            )
        users, file = _USED_BY.get(name, (configurables, ""))
        if not users & configurables:
            raise RecyclingError(
                f"{name} is set, but nothing uses it. Add --gin_file={file}, or leave "
                f"out {name}."
            )
        if name in given and name not in _STAND_INS:
            raise RecyclingError(
                f"nothing in these gin files uses {name}: they have no place for it, "
                "or set what it stands for in another way. Leave it out, or set "
                f"{_PERMITTED} = [{name!r}]." + did_you_mean(name, used)
            )


def _misspelt_feature(name: str, value: Any) -> str:
    if name != "TASK_FEATURE_LENGTHS" or not isinstance(value, Mapping):
        return ""
    known = list(Lengths.model_fields)
    wrong = [str(feature) for feature in value if feature not in known]
    return did_you_mean(wrong[0], known) if wrong else ""


gin.config.register_finalize_hook(check)
