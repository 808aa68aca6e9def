"""The gin macros that the package's gin files offer, and the values they may have.

Once this module is imported, gin checks the macros after it has read all files and
flags and before anything is loaded. It checks types and ranges, finds names that
nothing uses (which are misspelled), and makes sure that a run does not write where it
reads. It also expands a leading `~` in paths. Gin itself reports required macros that
are not set.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import gin.config
import pydantic
from etils import epath
from pydantic import Field

from prompt_tuning_recycling.errors import RecyclingError, did_you_mean
from prompt_tuning_recycling.files import as_list, as_path, is_remote
from prompt_tuning_recycling.files.guard import Paths, check_apart
from prompt_tuning_recycling.models import read_places

_MACRO = "gin.macro"
_HOSTS = ("standalone", "t5x_host")
_STANDALONE = "prompt_tuning_recycling.standalone."
_INITIAL_PROMPTS = "prompt_tuning_recycling.initial_prompts."

# What gin has read: (scope, configurable) -> parameter -> value. A macro NAME is the
# parameter `value` of `gin.macro` in the scope NAME.
Config = Mapping[tuple[str, str], Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class Kind:
    """The values that a macro may have.

    Attributes:
      type: the type that pydantic checks.
      expected: a description of that type.
      is_path: whether a leading `~` is expanded.
    """

    type: Any
    expected: str
    is_path: bool = False

    def allows(self, value: Any) -> bool:
        """Whether the macro may have this value."""
        try:
            pydantic.TypeAdapter(self.type).validate_python(value)
        except pydantic.ValidationError:
            return False
        return True


class _Lengths(pydantic.BaseModel):
    """Tokens of each feature of an encoder-decoder. An evaluation may omit one."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True)
    inputs: Annotated[int, Field(ge=1)] | None = None
    targets: Annotated[int, Field(ge=1)] | None = None


def _whole(least: int) -> Kind:
    type_ = Annotated[int, Field(strict=True, ge=least)]
    return Kind(type_, f"a whole number of at least {least}")


def _number(expected: str, **bounds: float) -> Kind:
    type_ = Annotated[float, Field(strict=True, allow_inf_nan=False, **bounds)]
    return Kind(type_, expected)


def _one_of(*values: str) -> Kind:
    return Kind(Literal[values], f"one of {', '.join(map(repr, values))}")


def _or_none(kind: Kind) -> Kind:
    return dataclasses.replace(
        kind, type=kind.type | None, expected=f"{kind.expected}, or None"
    )


_Text = Annotated[str, Field(strict=True, min_length=1)]
_SOME = Field(min_length=1)
_Texts = Annotated[list[_Text], _SOME] | Annotated[tuple[_Text, ...], _SOME]
_Recycler = (
    _Text | Annotated[Any, pydantic.AfterValidator(lambda value: _not_plain(value))]
)
_Recyclers = Annotated[list[_Recycler], _SOME] | Annotated[tuple[_Recycler, ...], _SOME]
_NOT_NEGATIVE, _POSITIVE = _whole(0), _whole(1)
_SHARE = _number("a number of at least 0 and below 1", ge=0, lt=1)
_ABOVE_0 = _number("a number above 0", gt=0)
_TRUTH = Kind(Annotated[bool, Field(strict=True)], "True or False")
_TEXT = Kind(_Text, "a text in quotes")
_Path = _Text | pydantic.InstanceOf[os.PathLike]
_PATH = Kind(_Path, "a path in quotes", is_path=True)
_PATHS = Kind(
    _Path | Annotated[list[_Path], _SOME] | Annotated[tuple[_Path, ...], _SOME],
    "a path in quotes, or a list of them, such as ['/one', '/other']",
    is_path=True,
)
_DTYPE = _one_of("float32", "bfloat16", "float16")
_NORMALIZING_FACTORS = (
    "NUM_REAL_TARGET_TOKENS",
    "NUM_TOTAL_TARGET_TOKENS",
    "AVERAGE_PER_SEQUENCE",
)
# Gin makes the object from a reference later, so its type is not known here.
_OBJECT = Kind(
    Annotated[Any, pydantic.AfterValidator(lambda value: _not_plain(value))],
    "a reference, such as @optax.adam()",
)

MACROS: Mapping[str, Kind] = {
    # What to recycle, and how (recycle_init.gin).
    "RECYCLE_FROM": _or_none(_PATHS),
    "SOURCE_CHECKPOINT": _or_none(_PATHS),
    "SOURCE_PROMPT": _or_none(_PATHS),
    "TARGET_CHECKPOINT": _or_none(_PATH),
    "RECYCLER": Kind(
        _Text | _OBJECT.type, "the name of a recycler in quotes, or a reference"
    ),
    "WORD_LIST": _or_none(_PATH),
    "NUM_WORDS": Kind(
        _whole(2).type | Literal["auto"] | None,
        "a whole number of at least 2, 'auto', or None for all",
    ),
    "WORD_OFFSET": _NOT_NEGATIVE,
    # What to choose among, and on which inputs (choosing.gin).
    "CHOOSER": _OBJECT,
    "CANDIDATES": Kind(
        _Recyclers,
        "a list of recyclers or their names, such as ['copy', 'procrustes']",
    ),
    "UNLABELED_TASK_NAME": _TEXT,
    "UNLABELED_SPLIT": _TEXT,
    "NUM_UNLABELED": _POSITIVE,
    "UNLABELED_SEED": _NOT_NEGATIVE,
    "USE_TEACHER": _TRUTH,
    "TEACHER_SCORES": _or_none(_PATH),
    "REFINE_STEPS": _NOT_NEGATIVE,
    "REFINE_LEARNING_RATE": _ABOVE_0,
    # Other prompts to start from (prompts/*.gin).
    "PROMPT_FILE": _PATH,
    "CLASS_LABELS": Kind(_Texts, "a list of texts, such as ['negative', 'positive']"),
    "PROMPT_SEED": _NOT_NEGATIVE,
    # Models.
    "PROMPT_LENGTH": _POSITIVE,
    "VOCABULARY": _OBJECT,
    "VOCABULARY_FILE": _PATH,
    "NETWORK": _OBJECT,
    "MODEL": _OBJECT,
    "DTYPE": _DTYPE,
    "DROPOUT_RATE": _SHARE,
    "Z_LOSS": _number("a number of at least 0", ge=0),
    "LABEL_SMOOTHING": _SHARE,
    "LOSS_NORMALIZING_FACTOR": Kind(
        _ABOVE_0.type | Literal[_NORMALIZING_FACTORS] | None,
        f"a number above 0, None, or one of {', '.join(_NORMALIZING_FACTORS)}",
    ),
    "NUM_DECODES": _POSITIVE,
    # Where a run reads and writes.
    "INITIAL_CHECKPOINT_PATH": _PATH,
    "CHECKPOINT_PATH": _PATH,
    "RESTORE_DTYPE": _or_none(_DTYPE),
    "MODEL_DIR": _PATH,
    "EVAL_OUTPUT_DIR": _PATH,
    "INFER_OUTPUT_DIR": _PATH,
    "CHOOSE_OUTPUT_DIR": _PATH,
    "OUTPUT_DIR": _PATH,
    "PROMPT_MANIFEST": _PATH,
    # Its data.
    "MIXTURE_OR_TASK_NAME": _TEXT,
    "EVAL_MIXTURE_OR_TASK_NAME": _TEXT,
    "MIXTURE_OR_TASK_MODULE": _or_none(_TEXT),
    "TASK_FEATURE_LENGTHS": Kind(
        _Lengths | None,
        "tokens of each feature, such as {'inputs': 128, 'targets': 8}, or None",
    ),
    "BATCH_SIZE": _POSITIVE,
    "EVAL_SPLIT": _TEXT,
    "INFER_SPLIT": _TEXT,
    "USE_CACHED_TASKS": _TRUTH,
    "SHUFFLE_TRAIN_EXAMPLES": _TRUTH,
    "TASK_NAME": Kind(
        Annotated[str, Field(strict=True, pattern=r"^[A-Za-z0-9_.:]+$")],
        "a name of letters, digits and any of _ . :",
    ),
    "TASK_FILES": Kind(
        Annotated[dict[_Text, _Text | _Texts], _SOME],
        "the files of each split, such as {'train': 'train.tsv', 'validation': ...}",
    ),
    "VERBALIZERS": Kind(
        _Texts | dict[_Text, _Text] | None,
        "the texts of the labels, such as ('negative', 'positive'), or None",
    ),
    "TASK_EVALUATION": _or_none(_one_of("generation", "rank_classification")),
    # Its training.
    "TRAIN_STEPS": _or_none(_POSITIVE),
    "TRAIN_STEPS_RELATIVE": _or_none(_POSITIVE),
    "OPTIMIZER": _or_none(_OBJECT),
    "PROMPT_OPTIMIZER": _OBJECT,
    "LEARNING_RATE": _ABOVE_0,
    "WARMUP_STEPS": _NOT_NEGATIVE,
    "MAX_GRADIENT_NORM": _or_none(_ABOVE_0),
    "RANDOM_SEED": _or_none(_NOT_NEGATIVE),
    "DEFAULT_PROMPT": _or_none(_OBJECT),
    "PROMPT_REGEX": Kind(
        list[re.Pattern] | tuple[re.Pattern, ...],
        "a list of regular expressions, such as ['.*/prompt/.*']",
    ),
    "LOG_PERIOD": _POSITIVE,
    "CHECKPOINT_PERIOD": Kind(
        _POSITIVE.type,
        "a whole number of at least 1 (one beyond the last step saves the last step "
        "alone)",
    ),
    "CHECKPOINT_DTYPE": _one_of("float32", "bfloat16"),
    "KEEP_CHECKPOINTS": Kind(
        _NOT_NEGATIVE.type | None, "a whole number of at least 1, or None or 0 for all"
    ),
    # Its evaluation and inference.
    "EVAL_PERIOD": Kind(
        _NOT_NEGATIVE.type, "a whole number of at least 1, or 0 for no evaluation"
    ),
    "RUN_EVAL_BEFORE_TRAINING": _TRUTH,
    "EVALUATOR_NUM_EXAMPLES": _or_none(_POSITIVE),
    "EVALUATOR_USE_MEMORY_CACHE": _TRUTH,
    "JSON_WRITE_N_RESULTS": _or_none(_NOT_NEGATIVE),
    "INFER_MODE": _one_of("predict", "score", "predict_with_aux"),
    "RANDOM_PROMPT": _OBJECT,
}
"""Name -> allowed values, for every macro that one of the package's gin files sets."""

# The standalone host supports fewer values of these than T5X does.
_IN_STANDALONE = {
    "RANDOM_SEED": _NOT_NEGATIVE,
    "LOSS_NORMALIZING_FACTOR": Kind(
        _ABOVE_0.type | Literal[_NORMALIZING_FACTORS[0]] | None,
        f"a number above 0, None or {_NORMALIZING_FACTORS[0]!r}",
    ),
}

# These say which prompt a run starts from. Without the file that uses them, the run
# would start from a different prompt.
_RECYCLING = (f"{_INITIAL_PROMPTS}Recycled", "recycle_init.gin")
_CHOOSING = ("prompt_tuning_recycling.choosing.chooser.Chooser", "choose_init.gin")
_USED_BY: Mapping[str, tuple[str, str]] = {
    "RECYCLE_FROM": _RECYCLING,
    "SOURCE_CHECKPOINT": _RECYCLING,
    "SOURCE_PROMPT": _RECYCLING,
    "TARGET_CHECKPOINT": _RECYCLING,
    "RECYCLER": _RECYCLING,
    "WORD_LIST": _RECYCLING,
    "NUM_WORDS": _RECYCLING,
    "WORD_OFFSET": _RECYCLING,
    "CANDIDATES": _CHOOSING,
    "UNLABELED_TASK_NAME": _CHOOSING,
    "UNLABELED_SPLIT": _CHOOSING,
    "NUM_UNLABELED": _CHOOSING,
    "UNLABELED_SEED": _CHOOSING,
    "USE_TEACHER": _CHOOSING,
    "TEACHER_SCORES": _CHOOSING,
    "REFINE_STEPS": _CHOOSING,
    "REFINE_LEARNING_RATE": _CHOOSING,
    "PROMPT_FILE": (f"{_INITIAL_PROMPTS}FromFile", "prompts/from_file.gin"),
    "CLASS_LABELS": (f"{_INITIAL_PROMPTS}FromText", "prompts/from_class_labels.gin"),
}

# The names that a user's gin files may set although nothing uses them.
_PERMITTED = "UNUSED_MACROS"

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
_FILES = ("WORD_LIST", "VOCABULARY_FILE", "PROMPT_MANIFEST", "TEACHER_SCORES")
_OUTPUTS = ("MODEL_DIR", "EVAL_OUTPUT_DIR", "INFER_OUTPUT_DIR", "CHOOSE_OUTPUT_DIR")
# Of both hosts; they write the file that TEACHER_SCORES names.
_TEACH = {f"prompt_tuning_recycling.{host}.choosing.teach" for host in _HOSTS}


def check(config: Config) -> dict[str, Any]:
    """Checks the macros of a configuration. Gin calls it after reading everything.

    Returns:
      The changes for gin to make: paths whose `~` was expanded.

    Raises:
      RecyclingError: a macro has a value that is not allowed, nothing uses a macro, or
        a run would write where it reads.
    """
    macros = {
        scope: parameters["value"]
        for (scope, configurable), parameters in config.items()
        if configurable == _MACRO
    }
    used = {
        _macro_name(reference)
        for reference in gin.config.iterate_references(config)
        if _is_macro(reference)
    }
    configurables = {configurable for _, configurable in config}
    _check_used(macros, used, configurables)
    standalone = any(name.startswith(_STANDALONE) for name in configurables)
    kinds = {**MACROS, **_IN_STANDALONE} if standalone else MACROS
    expanded: dict[str, Any] = {}
    paths: dict[str, list[epath.Path]] = {}
    for name, stated in macros.items():
        if name not in kinds or name not in used:
            continue
        # Other packages also have macros with these names.
        if name in _USED_BY and _USED_BY[name][0] not in configurables:
            continue
        try:
            value = _resolved(stated, macros)
        except _MadeLaterError:
            continue
        kind = kinds[name]
        if not kind.allows(value):
            raise RecyclingError(
                f"{name}: expected {kind.expected}, found {value!r}."
                + _misspelt_feature(name, value)
            )
        if kind.is_path and value is not None:
            paths[name] = [as_path(path) for path in as_list(value)]
            if stated != (at_home := _expanded(stated)):
                expanded[f"{name}/{_MACRO}.value"] = at_home
    _check_apart(paths, teaches=bool(_TEACH & configurables))
    return expanded


def _expanded(stated: Any) -> Any:
    """Returns a path, or a list of them, with a leading `~` expanded."""
    if isinstance(stated, (list, tuple)):
        return type(stated)(_expanded(path) for path in stated)
    is_at_home = isinstance(stated, str) and stated.startswith("~")
    return os.fspath(as_path(stated)) if is_at_home else stated


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
    macros: Mapping[str, Any], used: set[str], configurables: set[str]
) -> None:
    permitted = macros.get(_PERMITTED, ())
    if not Kind(_Texts | tuple[()], "").allows(permitted):
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
        configurable, file = _USED_BY.get(name, (None, ""))
        if configurable and configurable not in configurables:
            raise RecyclingError(
                f"{name} is set, but nothing uses it. Add --gin_file={file}, or leave "
                f"out {name}."
            )


def _misspelt_feature(name: str, value: Any) -> str:
    if name != "TASK_FEATURE_LENGTHS" or not isinstance(value, Mapping):
        return ""
    known = list(_Lengths.model_fields)
    wrong = [str(feature) for feature in value if feature not in known]
    return did_you_mean(wrong[0], known) if wrong else ""


class _MadeLaterError(Exception):
    """A value that gin makes only when it is needed."""


def _resolved(
    value: Any, macros: Mapping[str, Any], within: tuple[str, ...] = ()
) -> Any:
    """Returns the value with its macros replaced by their values.

    Raises:
      _MadeLaterError: a configurable makes a part of it.
      RecyclingError: a macro stands for itself.
    """
    if isinstance(value, gin.config.ConfigurableReference):
        name = _macro_name(value)
        if name in within:
            raise RecyclingError(f"{name} stands for itself. Set it to a value.")
        if _is_macro(value) and name in macros:
            return _resolved(macros[name], macros, (*within, name))
        raise _MadeLaterError
    if isinstance(value, dict):
        return {key: _resolved(part, macros, within) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_resolved(part, macros, within) for part in value)
    return value


def _is_macro(reference: gin.config.ConfigurableReference) -> bool:
    return reference.configurable.selector == _MACRO


def _macro_name(reference: gin.config.ConfigurableReference) -> str:
    return "/".join(reference.scopes)


def _not_plain(value: Any) -> Any:
    if isinstance(value, (str, int, float, bytes, Sequence, Mapping)) or value is None:
        raise ValueError("a plain value")
    return value


gin.config.register_finalize_hook(check)
