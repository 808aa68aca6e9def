"""Checks a T5X run as soon as gin has read all files, before T5X writes or loads
anything. What T5X would only find out later, or never, stops the run here.

The package's gin files for T5X import this module.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import gin
import seqio
from etils import epath

from prompt_tuning_recycling import contract, initial_prompts
from prompt_tuning_recycling.errors import RecyclingError, did_you_mean
from prompt_tuning_recycling.files import absolute, as_path
from prompt_tuning_recycling.kept_prompts import check_kept, is_outdated
from prompt_tuning_recycling.macros.values import (
    Config,
    MadeLaterError,
    resolved,
    stated_macros,
)
from prompt_tuning_recycling.models import Model, open_model
from prompt_tuning_recycling.models.formats.legacy import LegacyCheckpoint
from prompt_tuning_recycling.models.formats.orbax import OrbaxCheckpoint
from prompt_tuning_recycling.models.steps import steps
from prompt_tuning_recycling.prompts.export import PROMPT_REGEX, matches
from prompt_tuning_recycling.t5x_host import finished_work
from prompt_tuning_recycling.t5x_host.restore import AddPrompt

_RESTORE = "t5x.utils.RestoreCheckpointConfig"
_DATASET = "t5x.utils.DatasetConfig"
_ADD_PROMPT = "prompt_tuning_recycling.t5x_host.restore.AddPrompt"
_INITIALIZER = "prompt_tuning_recycling.t5x_host.initializers.recycled"


def check(config: Config) -> dict[str, Any]:
    """Checks what T5X will read. Gin calls it after reading everything.

    Returns:
      The changes for gin to make: the step that a `MODEL_DIR` stands for.

    Raises:
      RecyclingError: T5X cannot run like this, or would run with another prompt or
        with other data than was asked for.
    """
    stated = _Stated(config)
    adds_prompt = _ADD_PROMPT in stated.configurables
    add_prompt = gin.get_configurable(_ADD_PROMPT)() if adds_prompt else None
    declares = initial_prompts.initial_prompt() is not None or (
        add_prompt is not None and add_prompt.default is not None
    )
    for dataset in stated.each(_DATASET):
        _check_dataset(dataset, may_pack=not declares)
    # A run that goes on reads its own checkpoints, and the others may be gone.
    if _is_resumed(stated):
        return {}
    changes: dict[str, Any] = {}
    for bound in stated.each(_RESTORE):
        restoring = _Restoring.of(bound)
        if restoring is None:
            continue
        changes |= restoring.changes(adds_prompt)
        if _INITIALIZER in stated.configurables:
            restoring.check_without_prompt()
        if add_prompt is not None:
            _check_kept(add_prompt, restoring)
    return changes


@dataclasses.dataclass(frozen=True)
class _Bound:
    """What is bound to a configurable in one scope: its parameters by name."""

    scope: str
    configurable: str
    parameters: Mapping[str, Any]

    def key(self, parameter: str) -> str:
        """Returns gin's name of a parameter."""
        prefix = f"{self.scope}/" if self.scope else ""
        return f"{prefix}{self.configurable}.{parameter}"

    def flag(self, parameter: str) -> str:
        """Returns the name by which the command line sets a parameter."""
        return self.key(parameter).replace("t5x.", "", 1)


class _Stated:
    """What the gin files state, with macros replaced by their values."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._macros = stated_macros(config)
        self.configurables = {configurable for _, configurable in config}

    def training_folder(self) -> epath.Path | None:
        """Returns the folder of a training run, or None."""
        for (_, configurable), bound in self._config.items():
            if configurable.endswith(".train") and "model_dir" in bound:
                folder = self._value(bound["model_dir"])
                return as_path(folder) if isinstance(folder, str) else None
        return None

    def each(self, configurable: str) -> Iterator[_Bound]:
        """Yields what is bound to a configurable in each scope. A scope has what is
        bound without one, too.
        """
        common = self._config.get(("", configurable), {})
        for (scope, name), bound in self._config.items():
            if name == configurable:
                parameters = {
                    parameter: self._value(value)
                    for parameter, value in {**common, **bound}.items()
                }
                yield _Bound(scope, configurable, parameters)

    def _value(self, value: Any) -> Any:
        try:
            return resolved(value, self._macros)
        except MadeLaterError:
            return None


@dataclasses.dataclass(frozen=True)
class _Restoring:
    """What T5X restores.

    Attributes:
      bound: the configuration that says so.
      path: a step folder, or a `MODEL_DIR`.
      models: the steps, opened.
      all: whether T5X restores all steps of `path`, one after the other.
    """

    bound: _Bound
    path: str
    models: Sequence[Model]
    all: bool

    @classmethod
    def of(cls, bound: _Bound) -> _Restoring | None:
        """Opens what is to be restored; None if nothing is, or if it is a list."""
        path = bound.parameters.get("path")
        if not isinstance(path, str):
            return None
        if as_path(f"{path}.index").exists():
            raise RecyclingError(
                f"{path} is a TensorFlow checkpoint, and T5X adds no prompt to one. "
                "Convert it with T5X's scripts/convert_tf_checkpoint.py, and give the "
                "result."
            )
        model = open_model(path)
        if not isinstance(model.checkpoint, (OrbaxCheckpoint, LegacyCheckpoint)):
            raise RecyclingError(
                f"T5X cannot restore a model from {path} ({model.checkpoint.format}). "
                "Expected a checkpoint folder (checkpoint_N), or the MODEL_DIR that "
                "holds such folders. prompt-recycling convert makes one from a T5 of "
                "Hugging Face."
            )
        if bound.parameters.get("mode") != "all":
            return cls(bound, path, [model], all=False)
        found = [open_model(step) for step in steps(as_path(path)).values()]
        return cls(bound, path, found, all=True)

    def changes(self, adds_prompt: bool) -> dict[str, Any]:
        """Returns the changes that tell T5X and `AddPrompt` which steps are meant."""
        if self.all:
            return {f"{_ADD_PROMPT}.restores_all": True} if adds_prompt else {}
        step = absolute(self.models[0].path)
        if step == self.path:
            return {}
        changes = {self.bound.key("path"): step, self.bound.key("mode"): "specific"}
        if adds_prompt:
            changes[f"{_ADD_PROMPT}.step_path"] = step
        return changes

    def check_without_prompt(self) -> None:
        """Raises RecyclingError if a checkpoint holds a prompt, which the initializer
        would replace or leave unused.
        """
        if self.all:
            raise RecyclingError(
                "an initializer makes one prompt, but utils.RestoreCheckpointConfig."
                "mode = 'all' restores several models. Use runs/t5x/prompt_eval.gin "
                "instead of recycle_as_initializer.gin."
            )
        declared = initial_prompts.initial_prompt()
        for model in self.models:
            stored = {
                name: array.shape
                for name, array in model.parameters.items()
                if matches(name, PROMPT_REGEX)
            }
            if stored:
                contract.prompts_to_make(
                    stored, stored, declared, None, str(model.path)
                )


def _is_resumed(stated: _Stated) -> bool:
    """Whether a training run has saved a step before."""
    folder = stated.training_folder()
    return folder is not None and folder.is_dir() and bool(steps(folder))


def _check_kept(add_prompt: AddPrompt, restoring: _Restoring) -> None:
    """Checks that a folder keeps what is declared. T5X writes `config.gin` before it
    restores anything, so that if the check came later, the folder's would describe a
    run that did not happen. (A training run writes it afterwards, and checks what it
    was started with.)

    Where the prompt of one of several steps has to be made again, T5X would still skip
    the steps that it has evaluated before. So its marks of them are removed.
    """
    if add_prompt.is_training:
        return
    declared = initial_prompts.initial_prompt()
    for model in restoring.models:
        keeping = add_prompt.keeping(model if restoring.all else None)
        check_kept(declared, keeping)
        if restoring.all and is_outdated(declared, model, keeping):
            finished_work.forget(add_prompt.output_dir)


def _check_dataset(dataset: _Bound, may_pack: bool) -> None:
    given = dataset.parameters
    if given.get("pack") and not may_pack:
        raise RecyclingError(
            f"{dataset.flag('pack')} is True, but packed examples would share one "
            f"prompt. Set --gin.{dataset.flag('pack')}=False."
        )
    name, module = given.get("mixture_or_task_name"), given.get("module")
    if not isinstance(name, str):
        return
    if module:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise RecyclingError(
                f"MIXTURE_OR_TASK_MODULE: cannot import {module!r}: {error}. Is its "
                "folder on PYTHONPATH?"
            ) from error
    known = [*seqio.TaskRegistry.names(), *seqio.MixtureRegistry.names()]
    if name not in known:
        raise RecyclingError(
            f"there is no task or mixture {name!r}.{did_you_mean(name, known)} Set "
            "MIXTURE_OR_TASK_MODULE to the module that registers it."
        )
    if given.get("use_cached"):
        for task in seqio.get_subtasks(seqio.get_mixture_or_task(name)):
            if not task.cache_dir:
                raise RecyclingError(
                    f"{dataset.flag('use_cached')} is True, but {task.name} has not "
                    "been cached. Set --gin.USE_CACHED_TASKS=False, or name the folder "
                    "with --seqio_additional_cache_dirs."
                )


gin.config.register_finalize_hook(check)
