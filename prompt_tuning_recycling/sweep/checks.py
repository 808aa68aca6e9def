"""Checks that the pydantic models of a sweep's configuration do not make: that entries
agree with each other, and that a recycler accepts its parameters.

Pydantic would compare entries only once each of them is valid by itself, and would
report a single mistake. These checks look at the raw JSON, so that all mistakes are
reported at once, each at its own place.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from prompt_tuning_recycling import recyclers
from prompt_tuning_recycling.errors import RecyclingError, did_you_mean
from prompt_tuning_recycling.models.layouts.t5x import EMBEDDING
from prompt_tuning_recycling.sweep.json_places import Place
from prompt_tuning_recycling.sweep.mistakes import REQUIRED, Mistake, unknown

_SKIPS = ("combination_skips",)


def check(content: Mapping[str, Any]) -> Iterator[Mistake]:
    """Yields the mistakes in a configuration.

    Args:
      content: the raw JSON object; its entries may be anything.
    """
    yield from _steps(content.get("steps"))
    yield from _words(content)
    yield from _methods(content.get("recycling_methods"))
    yield from _prompts(content)
    yield from _skips(content)
    models = _object(content.get("pretrained"))
    for name in _object(content.get("vocabularies")):
        if models and name not in models:
            yield ("vocabularies", name), unknown(name, list(models))


def _steps(steps: Any) -> Iterator[Mistake]:
    if steps == []:
        yield ("steps",), "this is empty; write null for all steps that were exported."
    for number, step in _repeated(_list(steps)):
        yield ("steps", number), f"{step} is listed twice; only one would count."


def _words(content: Mapping[str, Any]) -> Iterator[Mistake]:
    place = ("load_embeddings", "from_string")
    text = _object(content.get("load_embeddings")).get("from_string")
    inits = {init for _, inner in _objects(content.get("prompts")) for init in inner}
    if "wayward" in inits and text is None:
        yield (
            place,
            'prompts of the initialization "wayward" are recycled with the pieces of '
            "their text: give vocab_file and string.",
        )
    named = _object(text).get("variable_path")
    expected = content.get("embedding_name", EMBEDDING)
    if isinstance(named, str) and f"target/{named.removeprefix('target/')}" != expected:
        yield (
            (*place, "variable_path"),
            f"expected {expected}, the table that the other words are read from, found "
            f"{named}. If the models call it that, set embedding_name as well.",
        )


def _methods(methods: Any) -> Iterator[Mistake]:
    place = ("recycling_methods",)
    if methods == {}:
        yield place, f"name one or more, such as {recyclers.names()[0]}."
    yield from _choices(methods)
    for name, entry in _objects(methods):
        if "choose" in entry:
            continue
        called = entry.get("recycler", name)
        if not isinstance(called, str):
            continue
        try:
            recyclers.get(called)
        except RecyclingError as error:
            where = (name, "recycler") if "recycler" in entry else (name,)
            message = str(error)
            if where == ("choose",):
                message = (
                    'to choose among the other methods, write {"choose": {}}; see '
                    "docs/sweeps.md."
                )
            yield (*place, *where), message
            continue
        for part in ("__init__", "fit"):
            # One by one, so that each mistake is reported at its own place.
            for parameter, value in _object(entry.get(part)).items():
                try:
                    recyclers.make(called, **{parameter: value})
                except RecyclingError as error:
                    yield (*place, name, part, parameter), str(error)
                except TypeError as error:
                    yield (*place, name, part, parameter), f"wrong type: {error}."


def _choices(methods: Any) -> Iterator[Mistake]:
    """Checks the methods that choose among others."""
    entries = _objects(methods)
    recycling = [name for name, entry in entries if "choose" not in entry]
    for name, entry in entries:
        if "choose" not in entry:
            continue
        place: Place = ("recycling_methods", name)
        for key in entry:
            if key in ("recycler", "__init__", "fit", "load_embeddings", *_SKIPS):
                yield (*place, key), "a choice recycles nothing itself; remove this."
        if not recycling:
            yield place, "there is no other method, so there is nothing to choose from."
            continue
        candidates = _object(entry["choose"]).get("candidates")
        place = (*place, "choose", "candidates")
        if candidates == []:
            yield place, "this is empty; leave it out to choose among all methods."
        listed = _list(candidates)
        twice = dict(_repeated(listed))
        for number, candidate in enumerate(listed):
            if number in twice:
                yield (*place, number), f"{candidate} is listed twice."
            elif isinstance(candidate, str) and candidate not in recycling:
                meant = did_you_mean(candidate, recycling)
                is_choice = candidate in _object(methods)
                why = "is a choice itself" if is_choice else "is no method of this file"
                yield (*place, number), f"{candidate!r} {why}.{meant}"


def _prompts(content: Mapping[str, Any]) -> Iterator[Mistake]:
    """Checks that all models have the same initializations, with the same runs."""
    models, prompts = content.get("pretrained"), content.get("prompts")
    if isinstance(models, dict) and len(models) < 2:
        yield ("pretrained",), f"expected two or more models, found {len(models)}."
    if isinstance(prompts, dict):
        yield from _same(("prompts",), prompts, list(_object(models) or prompts))
    inits = {("prompts", model): inner for model, inner in _objects(prompts)}
    runs = {
        (*place, init): inner
        for place, of_model in inits.items()
        for init, inner in _objects(of_model)
    }
    if inits and not any(runs.values()):
        yield ("prompts",), "name one or more initializations, each with its runs."
    for objects in (inits, runs):
        names = _most(objects.values())
        for place, entries in objects.items():
            yield from _same(place, entries, names)


def _same(place: Place, entries: dict, names: Collection[str]) -> Iterator[Mistake]:
    for key in entries:
        if key not in names:
            yield (*place, key), unknown(key, names)
    for key in names:
        if key not in entries:
            yield (*place, key), REQUIRED


def _most(objects: Collection[dict]) -> list[str]:
    """The keys that at least half of the objects have."""
    keys = dict.fromkeys(key for value in objects for key in value)
    return [key for key in keys if 2 * sum(key in o for o in objects) >= len(objects)]


def _skips(content: Mapping[str, Any]) -> Iterator[Mistake]:
    models = list(_object(content.get("pretrained")))
    lists: dict[Place, Any] = {_SKIPS: content.get(_SKIPS[0])}
    for name, entry in _objects(content.get("recycling_methods")):
        lists["recycling_methods", name, *_SKIPS] = entry.get(_SKIPS[0])
    for place, pairs in lists.items():
        for number, pair in enumerate(_list(pairs)):
            if len(_list(pair)) != 2:
                yield (*place, number), "expected [source, target]."
                continue
            for end, model in enumerate(pair):
                if models and model not in models:
                    meant = did_you_mean(str(model), models)
                    message = f"there is no model {model!r}.{meant}"
                    yield (*place, number, end), message


def _repeated(values: list[Any]) -> Iterator[tuple[int, Any]]:
    """Yields each value that was listed before, with its index."""
    seen = set()
    for number, value in enumerate(values):
        # As text, because a value may be a list.
        text = json.dumps(value)
        if text in seen:
            yield number, value
        seen.add(text)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _objects(value: Any) -> list[tuple[str, dict[str, Any]]]:
    """The entries of an object that are objects themselves."""
    return [(k, v) for k, v in _object(value).items() if isinstance(v, dict)]
