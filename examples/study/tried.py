"""Measures what was tried and is not shipped, beside what is.

  python -m examples.study.tried build/study

Run it after `python -m examples.study build/study`. It takes the prompts that the study
tuned to the end in its first run, carries them over to the other models by each method,
fitted on the study's words, and prints the mean and the worst accuracy on the test
split, in percent. A figure is of two tasks and twelve pairs of models.
"""

from __future__ import annotations

import argparse
import collections
import functools
import pathlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from examples.demo import language
from examples.demo.tasks import VOCABULARY
from examples.study import models, tried_maps
from examples.study.__main__ import LENGTHS, TASKS
from examples.study.tried_maps import Method, shipped
from prompt_tuning_recycling import recyclers
from prompt_tuning_recycling.models import open_model
from prompt_tuning_recycling.prompts import load_prompt
from prompt_tuning_recycling.standalone.prompted import PromptedModel
from prompt_tuning_recycling.sweep import configuration
from prompt_tuning_recycling.sweep.configuration import Configuration
from prompt_tuning_recycling.sweep.plan import PairWork, Plan
from prompt_tuning_recycling.words import Words, read_embeddings

# So many examples of what the models were trained on tell how frequent a word is.
EXAMPLES = 20_000
SHIPPED = ", shipped"


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.study.tried",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("study", type=pathlib.Path, help="the study's folder")
    study = parser.parse_args().study
    # method -> length -> accuracies
    found: dict[str, dict[int, list[float]]] = collections.defaultdict(
        lambda: collections.defaultdict(list)
    )
    for length in LENGTHS:
        loaded: dict[str, PromptedModel] = {}
        for task in TASKS:
            sweep = configuration.load(study / f"{task}-{length}.json")
            for name, checkpoint in sweep.pretrained.items():
                if name not in loaded:
                    loaded[name] = models.load(checkpoint, length)
            for method, accuracy in _accuracies(sweep, loaded):
                found[method][length].append(accuracy)
    print(table(found))


def table(found: Mapping[str, Mapping[int, Sequence[float]]]) -> str:
    """Returns a line for each method, as Markdown, and two for the best of several.

    Args:
      found: method -> length of the prompts -> accuracies, in percent, in the same
        order of tasks and pairs for all methods.
    """
    titles = [f"{length} vectors: mean | worst" for length in LENGTHS]
    ours = [of for method, of in found.items() if method.endswith(SHIPPED)]
    every = list(found.values())
    lines = [
        f"| | {' | '.join(titles)} |",
        "|---|" + "---|---|" * len(LENGTHS),
        *(_line(method, [of_lengths]) for method, of_lengths in found.items()),
        _line("the best of those shipped, known afterwards", ours),
        _line("the best of all, known afterwards", every),
    ]
    return "\n".join(lines)


def _line(title: str, methods: Sequence[Mapping[int, Sequence[float]]]) -> str:
    """The line of the best of these methods in each cell."""
    cells = []
    for length in LENGTHS:
        best = np.max([of_lengths[length] for of_lengths in methods], axis=0)
        cells.append(f"{best.mean():.1f} | {best.min():.1f}")
    return f"| {title} | {' | '.join(cells)} |"


def _accuracies(
    sweep: Configuration, loaded: Mapping[str, PromptedModel]
) -> Iterator[tuple[str, float]]:
    """Yields each method with its accuracy, for one pair after another."""
    for pair in Plan(sweep).pairs():
        words = pair.fits[0].words.words()
        s, t = _embeddings(pair, words)
        prompt = load_prompt(_tuned(sweep, pair)).array.astype(np.float64)
        target = loaded[pair.target]
        (site,) = target.shapes
        for name, method in _methods(words).items():
            mapped = method(s, t, prompt).astype(np.float32)
            yield name, models.accuracy(target, {site: mapped}, sweep.task_name)


def _tuned(sweep: Configuration, pair: PairWork) -> str:
    """The source's prompt of the first run, tuned to the end."""
    last, run = max(sweep.steps or ()), sweep.runs[0]
    (file,) = {
        item.prompt_from for item in pair.items if item.step == last and item.run == run
    }
    return file


def _embeddings(pair: PairWork, words: Words) -> tuple[np.ndarray, np.ndarray]:
    source, target = map(open_model, (pair.source_path, pair.target_path))
    (embedded,) = read_embeddings(source, target, [words])
    of_source, of_target = embedded.fitted
    return of_source.array, of_target.array


def _methods(words: Words) -> dict[str, Method]:
    """What to measure: a line's title -> the method."""
    # All that are candidates by default and are for any two widths.
    names = [name for name in recyclers.PORTFOLIO if name != recyclers.Copy.name]
    return {f"`{name}`{SHIPPED}": shipped(name) for name in names} | {
        "ridge by generalized cross-validation": tried_maps.gcv_ridge,
        "centering": tried_maps.centered,
        "rank of half the smaller width": tried_maps.reduced_rank,
        "canonical correlation": tried_maps.canonical_correlation,
        "corrected lengths": tried_maps.corrected_lengths,
        "weights 1 / place in the list": tried_maps.weighted_by(),
        "weights by frequency": tried_maps.weighted_by(_frequencies(words)),
        "total least squares": tried_maps.total_least_squares,
        "kernel ridge": tried_maps.kernel_ridge,
        "non-negative least squares": tried_maps.non_negative,
        "mean of five `v2v-nn`": tried_maps.networks,
    }


def _frequencies(words: Words) -> np.ndarray:
    """How often each word is in what the models were trained on, plus one."""
    counts = _counts()
    return np.array([counts[row] + 1 for row in words.fitted.source_rows.tolist()])


@functools.cache
def _counts() -> collections.Counter[int]:
    counts: collections.Counter[int] = collections.Counter()
    for inputs, targets in language.pretraining(1, EXAMPLES):
        counts.update(VOCABULARY.encode(f"{inputs} {targets}"))
    return counts


if __name__ == "__main__":
    main()
