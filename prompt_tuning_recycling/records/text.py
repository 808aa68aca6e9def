"""Describes recycled prompts as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files.json_files import DAMAGED, why_damaged
from prompt_tuning_recycling.records import provenance

if TYPE_CHECKING:
    from jaxtyping import Float

_MOST_VECTORS = 10


def prompt_text(prompt: Float[np.ndarray, "length width"], path: str) -> str:
    """Describes a prompt without its record: its shape, dtype and row norms."""
    return "\n".join(
        [
            f"Prompt          {path}",
            f"  shape         [{prompt.shape[0]}, {prompt.shape[1]}], {prompt.dtype}",
            f"  row norms     {_norms(provenance.norms(prompt))}",
        ]
    )


def record_text(record: Mapping[str, Any]) -> str:
    """Describes how a prompt was recycled and how far to trust it.

    Raises:
      RecyclingError: it is not the record of a recycled prompt.
    """
    try:
        return _record_text(record)
    except DAMAGED as error:
        raise RecyclingError(
            "the record does not say how a prompt was recycled: "
            f"{why_damaged(error)}. Recycle the prompt again to have its record."
        ) from error


def _record_text(record: Mapping[str, Any]) -> str:
    if "mean_of" in record:
        return _mean_text(record)
    lines = _prompt_lines(record["prompt"])
    for role in ("source", "target"):
        used = record[role]
        lines.append(f"{role.capitalize():16}{used['path']}")
        lines.append(
            f"  embeddings    {used['shape']}, {used['dtype']} ({used['format']})"
        )
    words = record["words"]
    origin = words.get("word_list") or words.get("text") or words.get("rows")
    lines.append(
        f"Words           {words['fitted']} fitted on, {words['held_out']} held out"
    )
    lines.append(f"  from          {origin}")
    if "found" in words:
        files = (words[f"{role}_vocabulary"]["path"] for role in ("source", "target"))
        lines.append(f"  found         {words['found']} of {words['asked']} asked for")
        lines.append(f"  as pieces of  {' and '.join(files)}")
    recycler = record["recycler"]
    parameters = ", ".join(f"{k}={v}" for k, v in recycler["parameters"].items())
    lines.append(f"Recycler        {recycler['name']} ({parameters})")
    lines.extend(_fit_lines(record["fit"]))
    residual = record["residual"]
    lines.append(
        "Residual        of words: 0 is a perfect map; it does not judge prompts"
    )
    lines.append(f"  fitted        {residual['fitted_words']:.3f}")
    held_out = residual["held_out_words"]
    lines.append(
        f"  held out      {'no words' if held_out is None else f'{held_out:.3f}'}"
    )
    lines.append("Row norms       smallest, median, largest")
    for key, label in (
        ("source_prompt", "prompt before"),
        ("recycled_prompt", "prompt after"),
        ("source_embeddings", "source words"),
        ("target_embeddings", "target words"),
    ):
        lines.append(f"  {label:14}{_norms(record['row_norms'][key])}")
    lines.extend(_nearest_lines(record["nearest_pieces"]))
    lines.extend(_combination_lines(record.get("combination")))
    lines.extend(f"Warning         {warning}" for warning in record["warnings"])
    return "\n".join(lines)


def _prompt_lines(prompt: Mapping[str, Any]) -> list[str]:
    """Says which part of a stored prompt was used, if it was not all of it."""
    part = prompt.get("part")
    if part is None:
        return []
    lines = [f"Prompt          {prompt['path']}"]
    if part["rows"] < part["stored_rows"]:
        used = f"the first {part['rows']} of {part['stored_rows']} vectors"
        lines.append(f"  used          {used}")
    if "task" in part:
        lines.append(f"  task          {part['task']}")
    if "note" in part:
        lines.append(f"  note          {part['note']}")
    return lines


def _mean_text(record: Mapping[str, Any]) -> str:
    parts = record["mean_of"]
    lines = [f"Mean of {len(parts)} recycled prompts"]
    lines.append(f"  row norms     {_norms(record['row_norms']['recycled_prompt'])}")
    for number, part in enumerate(parts, start=1):
        lines += ["", f"Prompt {number} of {len(parts)}", _record_text(part)]
    return "\n".join(lines)


def _fit_lines(fit: Mapping[str, Any]) -> list[str]:
    lines = []
    if "rank" in fit:
        kind = ", minimum-norm solution" if fit.get("minimum_norm") else ""
        lines.append(f"  rank          {fit['rank']}{kind}")
    if "ridge" in fit:
        left_out = fit.get("leave_one_out_residual")
        chosen = "" if left_out is None else f", leave-one-out residual {left_out:.3f}"
        lines.append(f"  ridge         {fit['ridge']:.3g}{chosen}")
    if "condition_number" in fit:
        lines.append(f"  condition     {fit['condition_number']:.3g}")
    if "scale" in fit:
        lines.append(f"  scale         {fit['scale']:.4g}")
    if "training_loss" in fit:
        first, last = fit["training_loss_by_epoch"][0], fit["training_loss"]
        lines.append(
            f"  loss          {first:.4g} in the first epoch, {last:.4g} in the last"
        )
    return lines


def _nearest_lines(nearest: list[list[dict[str, Any]]] | None) -> list[str]:
    if nearest is None:
        return []
    return [
        "Nearest words in the target, by cosine",
        *_vector_lines(
            "  ".join(f"{p['piece']} {p['cosine']:.2f}" for p in pieces)
            for pieces in nearest
        ),
    ]


def _combination_lines(combination: list[list[dict[str, Any]]] | None) -> list[str]:
    if combination is None:
        return []
    return [
        "Written in words of the source, with coefficients",
        *_vector_lines(
            "  ".join(
                f"{w['coefficient']:+.3g} {w['piece'] or w['row']}" for w in words
            )
            for words in combination
        ),
    ]


def _vector_lines(found: Iterable[str]) -> list[str]:
    texts = list(found)
    lines = [
        f"  vector {number:<7}{text}"
        for number, text in enumerate(texts[:_MOST_VECTORS])
    ]
    if len(texts) > _MOST_VECTORS:
        lines.append(f"  and {len(texts) - _MOST_VECTORS} more, in the record")
    return lines


def _norms(norms: Mapping[str, float]) -> str:
    return f"{norms['min']:.4g}, {norms['median']:.4g}, {norms['max']:.4g}"
