"""A program that writes what no command writes by itself: exports, kept prompts."""

import pathlib

import numpy as np

from prompt_tuning_recycling.initial_prompts import Recycled
from prompt_tuning_recycling.kept_prompts import Keeping, make_prompts
from prompt_tuning_recycling.models import open_model
from prompt_tuning_recycling.prompts.export import export_prompts

NAMES = ("encoder/prompt/prompt/prompt", "decoder/prompt/prompt/prompt")


def main(arguments):
    what, *rest = arguments
    {"export": export, "keep": keep}[what](*rest)


def export(model_dir, number):
    """Exports two prompts, full of a number."""
    arrays = {name: np.full((50, 100), number, np.float32) for name in NAMES}
    export_prompts(model_dir, 7, arrays)


def keep(output_dir, source, prompt, target, words):
    """Recycles a prompt, and keeps it in a run's folder."""
    kind = Recycled(
        source_checkpoint=source,
        source_prompt=prompt,
        target_checkpoint=target,
        word_list=words,
        num_words=200,
        word_offset=10,
    )
    model = open_model(target)
    length = np.load(pathlib.Path(prompt)).shape[0]
    shapes = {NAMES[0]: (length, model.embeddings.shape[1])}
    make_prompts(dict.fromkeys(shapes, kind), shapes, model, Keeping(output_dir))
