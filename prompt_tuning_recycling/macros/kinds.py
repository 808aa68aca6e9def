"""The gin macros that the package's gin files offer, and the values they may have."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field


def _not_plain(value: Any) -> Any:
    if isinstance(value, (str, int, float, bytes, Sequence, Mapping)) or value is None:
        raise ValueError("a plain value")
    return value


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


class Lengths(pydantic.BaseModel):
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
Texts = Annotated[list[_Text], _SOME] | Annotated[tuple[_Text, ...], _SOME]
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
    "SOURCE_VOCABULARY": _or_none(_PATHS),
    "TARGET_VOCABULARY": _or_none(_PATH),
    "ALLOW_FEW_WORDS": _TRUTH,
    "EMBEDDING_NAME": _or_none(_TEXT),
    "SOURCE_EMBEDDING_NAME": _or_none(_TEXT),
    "TARGET_EMBEDDING_NAME": _or_none(_TEXT),
    "PROMPT_NAME": _or_none(_TEXT),
    "PROMPT_TASK": _or_none(_NOT_NEGATIVE),
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
    "CLASS_LABELS": Kind(Texts, "a list of texts, such as ['negative', 'positive']"),
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
        Lengths | None,
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
        Annotated[dict[_Text, _Text | Texts], _SOME],
        "the files of each split, such as {'train': 'train.tsv', 'validation': ...}",
    ),
    "VERBALIZERS": Kind(
        Texts | dict[_Text, _Text] | None,
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
    "EVAL_STEPS": _POSITIVE,
    "RUN_EVAL_BEFORE_TRAINING": _TRUTH,
    "EVALUATOR_NUM_EXAMPLES": _or_none(_POSITIVE),
    "EVALUATOR_USE_MEMORY_CACHE": _TRUTH,
    "JSON_WRITE_N_RESULTS": _or_none(_NOT_NEGATIVE),
    "INFER_MODE": _one_of("predict", "score", "predict_with_aux"),
    "RANDOM_PROMPT": _OBJECT,
}
"""Name -> allowed values, for every macro that one of the package's gin files sets."""

IN_STANDALONE = {
    "RANDOM_SEED": _NOT_NEGATIVE,
    "LOSS_NORMALIZING_FACTOR": Kind(
        _ABOVE_0.type | Literal[_NORMALIZING_FACTORS[0]] | None,
        f"a number above 0, None or {_NORMALIZING_FACTORS[0]!r}",
    ),
}
"""The same for macros of which the standalone host supports fewer values than T5X."""
