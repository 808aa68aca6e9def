"""What can be wrong with a sweep's configuration, without looking at other files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from prompt_tuning_recycling import recyclers
from prompt_tuning_recycling.errors import RecyclingError, did_you_mean
from prompt_tuning_recycling.models.layouts.t5x import EMBEDDING
from prompt_tuning_recycling.sweep.json_places import Place
from prompt_tuning_recycling.sweep.mistakes import Mistakes

_REQUIRED = (
    "root_dir",
    "dataset",
    "task_name",
    "load_embeddings",
    "recycling_methods",
    "pretrained",
    "prompts",
)
_KNOWN = (
    *_REQUIRED,
    "clobber",
    "steps",
    "combination_skips",
    "prompt_file",
    "embedding_name",
    "baselines",
)
_WORD_LIST = {"word_list_path": str, "num_words": int, "word_offset": int}
_FROM_STRING = {"vocab_file": str, "variable_path": str, "string": str}
_BASELINES = {"no_prompt": bool, "random_prompts": int, "untuned_step": int}
_MAY_BE_NULL = ("word_list_path", "num_words", "untuned_step")
_METHOD = ("recycler", "__init__", "fit", "load_embeddings")
# What a name must not hold to be part of a path.
_UNFIT = re.compile(r'[/\\:*?"<>|\x00-\x1f]|^\.{1,2}$|^$')
_PLACEHOLDER = "..."


def check(content: Any, mistakes: Mistakes) -> None:
    """Notes all that is wrong with a configuration's content."""
    mistakes.keys_that_stand_twice()
    if not mistakes.kind((), content, dict):
        return
    mistakes.keys((), content, _KNOWN, _REQUIRED)
    for key in ("root_dir", "dataset", "task_name", "prompt_file", "embedding_name"):
        if key in content and mistakes.kind((key,), content[key], str):
            _check_text((key,), content[key], mistakes)
    if isinstance(content.get("dataset"), str):
        _check_name(("dataset",), content["dataset"], mistakes)
    if isinstance(content.get("prompt_file"), str):
        _check_name(("prompt_file",), content["prompt_file"], mistakes)
    if "clobber" in content:
        mistakes.kind(("clobber",), content["clobber"], bool)
    _check_steps(content.get("steps"), mistakes)
    if "baselines" in content:
        _check_settings(("baselines",), content["baselines"], _BASELINES, mistakes)
    _check_load_embeddings(content, mistakes)
    _check_methods(content.get("recycling_methods", {}), mistakes)
    models = _check_models(content.get("pretrained", {}), mistakes)
    _check_prompts(content.get("prompts", {}), models, mistakes)
    _check_skips(content.get("combination_skips"), models, mistakes)


def recycler(name: str, entry: Mapping[str, Any]) -> recyclers.Recycler:
    """Returns the recycler that an entry of `recycling_methods` describes.

    Raises:
      RecyclingError: there is none of that name, or a parameter is not one of its own
        or has a value that it cannot have.
    """
    parameters = {**entry.get("__init__", {}), **entry.get("fit", {})}
    try:
        return recyclers.make(entry.get("recycler", name), **parameters)
    except TypeError as error:
        raise RecyclingError(f"a parameter has a wrong type: {error}.") from error


def _check_text(place: Place, value: str, mistakes: Mistakes) -> None:
    if value == _PLACEHOLDER:
        mistakes.add(place, 'this is still the placeholder "..."; fill it in.')
    elif not value.strip():
        mistakes.add(place, "this is empty.")
    elif "\0" in value:
        mistakes.add(place, "a NUL character cannot be part of this.")


def _check_name(place: Place, name: str, mistakes: Mistakes) -> None:
    if _UNFIT.search(name):
        mistakes.add(
            place,
            f"{name!r} cannot be part of a file's name. Use letters, digits, spaces, "
            "and any of - _ + . ,",
        )


def _check_names(place: Place, names: Iterable[str], mistakes: Mistakes) -> None:
    for name in names:
        _check_name((*place, name), name, mistakes)


def _check_settings(
    place: Place, value: Any, kinds: Mapping[str, type], mistakes: Mistakes
) -> None:
    if not mistakes.kind(place, value, dict):
        return
    mistakes.keys(place, value, tuple(kinds))
    for key, kind in kinds.items():
        if key not in value or (value[key] is None and key in _MAY_BE_NULL):
            continue
        if mistakes.kind((*place, key), value[key], kind):
            if kind is int and value[key] < 0:
                mistakes.add((*place, key), f"expected 0 or more, found {value[key]}.")
            if kind is str:
                _check_text((*place, key), value[key], mistakes)


def _check_steps(steps: Any, mistakes: Mistakes) -> None:
    if steps is None or not mistakes.kind(("steps",), steps, list):
        return
    if not steps:
        mistakes.add(("steps",), "an empty list; for all steps that there are, null.")
    for number, step in enumerate(steps):
        if not mistakes.kind(("steps", number), step, int):
            continue
        if step < 0:
            mistakes.add(("steps", number), f"expected 0 or more, found {step}.")
        if step in steps[:number]:
            mistakes.add(("steps", number), f"{step} stands there already.")


def _check_load_embeddings(content: Mapping[str, Any], mistakes: Mistakes) -> None:
    value = content.get("load_embeddings", {})
    place: Place = ("load_embeddings",)
    if not mistakes.kind(place, value, dict):
        return
    mistakes.keys(place, value, ("default", "from_string"))
    _check_settings((*place, "default"), value.get("default", {}), _WORD_LIST, mistakes)
    if _uses_wayward(content) and "from_string" not in value:
        mistakes.add(
            (*place, "from_string"),
            'the initialization "wayward" is recycled with the pieces of its text: '
            "give vocab_file and string.",
        )
    if "from_string" in value:
        place = (*place, "from_string")
        text = value["from_string"]
        _check_settings(place, text, _FROM_STRING, mistakes)
        if isinstance(text, dict):
            mistakes.keys(place, text, tuple(text), ("vocab_file", "string"))
            _check_variable_path(place, text, content, mistakes)


def _check_variable_path(
    place: Place,
    text: Mapping[str, Any],
    content: Mapping[str, Any],
    mistakes: Mistakes,
) -> None:
    """The paper's code names the table here, and only here."""
    named = text.get("variable_path")
    expected = content.get("embedding_name", EMBEDDING)
    if isinstance(named, str) and f"target/{named.removeprefix('target/')}" != expected:
        mistakes.add(
            (*place, "variable_path"),
            f"expected the table that the other words are read from, {expected}, found "
            f"{named}. If the models call it that, set embedding_name, too.",
        )


def _uses_wayward(content: Mapping[str, Any]) -> bool:
    prompts = content.get("prompts")
    if not isinstance(prompts, dict):
        return False
    return any("wayward" in inits for inits in prompts.values() if inits)


def _check_methods(methods: Any, mistakes: Mistakes) -> None:
    place: Place = ("recycling_methods",)
    if not mistakes.kind(place, methods, dict):
        return
    if not methods:
        mistakes.add(place, f"name one or more, such as {recyclers.names()[0]}.")
    _check_names(place, methods, mistakes)
    for name, entry in methods.items():
        if mistakes.kind((*place, name), entry, dict):
            _check_method((*place, name), name, entry, mistakes)


def _check_method(place: Place, name: str, entry: dict, mistakes: Mistakes) -> None:
    mistakes.keys(place, entry, _METHOD)
    if "load_embeddings" in entry:
        _check_settings(
            (*place, "load_embeddings"), entry["load_embeddings"], _WORD_LIST, mistakes
        )
    called = entry.get("recycler", name)
    if not mistakes.kind((*place, "recycler"), called, str):
        return
    parts = [part for part in ("__init__", "fit") if part in entry]
    kinds = [mistakes.kind((*place, part), entry[part], dict) for part in parts]
    if not all(kinds):
        return
    try:
        cls = recyclers.get(called)
    except RecyclingError as error:
        where = (*place, "recycler") if "recycler" in entry else place
        mistakes.add(where, str(error))
        return
    known = tuple(cls.__dataclass_fields__)
    for part in parts:
        for parameter in entry[part]:
            if parameter not in known:
                mistakes.add(
                    (*place, part, parameter),
                    f"{cls.name} has no such parameter."
                    + did_you_mean(parameter, known),
                )
                continue
            # One by one, so that each mistake is found, at its place.
            alone = {"recycler": called, "fit": {parameter: entry[part][parameter]}}
            try:
                recycler(called, alone)
            except RecyclingError as error:
                mistakes.add((*place, part, parameter), str(error))


def _check_models(pretrained: Any, mistakes: Mistakes) -> list[str]:
    place: Place = ("pretrained",)
    if not mistakes.kind(place, pretrained, dict):
        return []
    if len(pretrained) < 2:
        mistakes.add(place, f"expected two models or more, found {len(pretrained)}.")
    _check_names(place, pretrained, mistakes)
    for name, path in pretrained.items():
        if mistakes.kind((*place, name), path, str):
            _check_text((*place, name), path, mistakes)
    return list(pretrained)


def _check_prompts(prompts: Any, models: list[str], mistakes: Mistakes) -> None:
    """Every model has the same initializations, and each of them the same runs."""
    place: Place = ("prompts",)
    if not mistakes.kind(place, prompts, dict):
        return
    mistakes.keys(place, prompts, models, models)
    inits = _most(prompts.values())
    runs = _most(
        inner
        for value in prompts.values()
        if isinstance(value, dict)
        for inner in value.values()
    )
    _check_names(place, inits, mistakes)
    _check_names(place, runs, mistakes)
    for model, of_model in prompts.items():
        if not mistakes.kind((*place, model), of_model, dict):
            continue
        mistakes.keys((*place, model), of_model, inits, inits)
        for init, of_init in of_model.items():
            if not mistakes.kind((*place, model, init), of_init, dict):
                continue
            mistakes.keys((*place, model, init), of_init, runs, runs)
            for run, folder in of_init.items():
                where = (*place, model, init, run)
                if mistakes.kind(where, folder, str):
                    _check_text(where, folder, mistakes)


def _most(objects: Any) -> list[str]:
    """The keys that more than half of the objects have; of two objects, of either."""
    objects = [value for value in objects if isinstance(value, dict)]
    keys = dict.fromkeys(key for value in objects for key in value)
    return [key for key in keys if 2 * sum(key in o for o in objects) >= len(objects)]


def _check_skips(skips: Any, models: list[str], mistakes: Mistakes) -> None:
    place: Place = ("combination_skips",)
    if skips is None or not mistakes.kind(place, skips, list):
        return
    for number, pair in enumerate(skips):
        if not isinstance(pair, list) or len(pair) != 2:
            mistakes.add((*place, number), "expected [source, target].")
            continue
        for end, model in enumerate(pair):
            if model not in models:
                meant = did_you_mean(str(model), models)
                mistakes.add(
                    (*place, number, end), f"there is no model {model!r}.{meant}"
                )
