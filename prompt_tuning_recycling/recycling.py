"""`recycle_prompt` takes two models, a prompt, words and a recycler, and returns the
prompt for the target model with a record of how it was made.
"""

from __future__ import annotations

import dataclasses
import time

from prompt_tuning_recycling import recyclers
from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.models import Model, Origin, StoredArray, open_model
from prompt_tuning_recycling.prompts import Prompt, find_prompt, load_prompt
from prompt_tuning_recycling.records.recorder import Recorder
from prompt_tuning_recycling.words import Words, read_embeddings


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class RecycledPrompt(Prompt):
    """A prompt carried over to another model, float32 [length, target_dim].

    Its record says how it was made and how far to trust it (docs/provenance.md).

    Attributes:
      fit: what the recycler learned; its map can be saved and applied to other
        prompts.
    """

    fit: recyclers.Fit


def recycle_prompt(
    source: Origin,
    target: Origin,
    prompt: Origin | None = None,
    *,
    words: Words | None = None,
    recycler: str | recyclers.Recycler = "v2v-lin",
    prompt_name: str | None = None,
) -> RecycledPrompt:
    """Carries a prompt that was tuned on the source model over to the target model.

    Args:
      source: the model the prompt was tuned on: a path (see `open_model`), a model, or
        its embedding table [vocabulary, source_dim].
      target: the model to recycle the prompt for, in any of the same forms.
      prompt: a path to a numpy file or a checkpoint, an opened model, or an array
        [length, source_dim]; by default the prompt inside `source`.
      words: the words to fit on; by default entries 1000 to 5000 of the package's
        English list for the T5 vocabulary.
      recycler: a recycler, or its name.
      prompt_name: the prompt's site or name in its checkpoint; see `find_prompt`.

    Raises:
      RecyclingError: an argument cannot be used; the message says which and why.
    """
    started = time.monotonic()
    recycler = recyclers.make(recycler)
    words = words if words is not None else Words.from_list()
    source, target = open_model(source), open_model(target)
    prompt_from = source if prompt is None else open_model(prompt)
    stored_prompt = find_prompt(prompt_from, prompt_name)
    check_width(source, stored_prompt)

    tuned = load_prompt(prompt_from, prompt_name)
    (embedded,) = read_embeddings(source, target, [words])
    read = time.monotonic()

    fit = recycler.fit(*embedded.fitted)
    recycled = fit.map.apply(tuned.array)
    done = time.monotonic()

    recorder = Recorder(embedded)
    record = recorder.of_prompt(
        recorder.of_fit(recycler, fit), tuned.array, tuned.record, recycled
    )
    seconds = {
        "read": round(read - started, 3),
        "fit_and_apply": round(done - read, 3),
    }
    return RecycledPrompt(recycled, tuned.site, {**record, "seconds": seconds}, fit=fit)


def check_width(source: Model, prompt: StoredArray) -> None:
    """Raises RecyclingError if a prompt and the source model differ in width."""
    table_shape = source.embeddings.shape
    if len(prompt.shape) == 2 and prompt.shape[1] != table_shape[1]:
        raise RecyclingError(
            f"the prompt {prompt.checkpoint.path} has width {prompt.shape[1]} (shape "
            f"{list(prompt.shape)}), but the source model {source.path} has embeddings "
            f"of width {table_shape[1]}. A prompt works only with the model it was "
            "tuned on: give that model as the source."
        )
