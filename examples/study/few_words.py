"""Measures what few words cost: residual and accuracy over words divided by width.

  python -m examples.study.few_words build/few_words

Wide models have few words for each dimension. The demo's tiny models stand for them,
with maps that are fitted on few words: prompts are tuned on `source` (width 64), and
recycled to the other three models by `v2v-lin`, with and without a ridge. The words are
drawn at random. Run it from the top of the checkout. If you stop it and start it again,
it continues where it stopped.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import statistics
from collections.abc import Iterator

import numpy as np

from examples.demo import commands, story
from examples.demo.commands import Command, Runner
from prompt_tuning_recycling import Words, maps, open_model, recyclers
from prompt_tuning_recycling.evaluation import manifest, metrics_file
from prompt_tuning_recycling.evaluation.manifest import Evaluation
from prompt_tuning_recycling.prompts import load_prompt
from prompt_tuning_recycling.words import lists, read_embeddings

TASK = "topic"
WIDTH = 64
RATIOS = (0.5, 0.75, 1, 1.25, 1.5, 2, 4, 6)
RIDGES: tuple[float | str | None, ...] = (None, "auto")
PROMPT_SEEDS = (0, 1)
WORD_SEEDS = (0, 1)
HELD_OUT = 128


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.study.few_words",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("output", type=pathlib.Path, help="the folder for all outputs")
    output = parser.parse_args().output
    runner = Runner(output / "commands.sh")
    wanted = [_tuning(output, seed) for seed in PROMPT_SEEDS]
    list(runner.run(one for one in wanted if not one.output.exists()))
    residuals = {
        target: dict(recycle(output, target, [one.output for one in wanted]))
        for target in story.TARGETS
    }
    list(runner.run([_evaluating(output, target) for target in story.TARGETS]))
    print(table(output, residuals))


def recycle(
    output: pathlib.Path, target: str, tuned: list[pathlib.Path]
) -> Iterator[tuple[str, float]]:
    """Recycles the prompts to a target and writes its manifest.

    Yields the name of each map with its residual on held-out words.
    """
    source_model = open_model(pathlib.Path(commands.MODELS, story.SOURCE))
    target_model = open_model(pathlib.Path(commands.MODELS, target))
    prompts = np.stack([load_prompt(open_model(run)).array for run in tuned])
    evaluations = []
    for name, words, ridge in _maps():
        (embedded,) = read_embeddings(source_model, target_model, [words])
        fit = recyclers.make("v2v-lin", ridge=ridge).fit(*embedded.fitted)
        for seed, array in zip(PROMPT_SEEDS, fit.map.apply(prompts), strict=True):
            folder = output / "evaluated" / target / f"{name}-{seed}"
            folder.mkdir(parents=True, exist_ok=True)
            np.save(folder / "prompt.npy", array)
            evaluations.append(Evaluation(str(folder), str(folder / "prompt.npy")))
        found = maps.residual(fit.map, *embedded.held_out)
        assert found is not None
        yield name, found
    manifest.write(output / f"{target}.json", evaluations)


def _maps() -> Iterator[tuple[str, Words, float | str | None]]:
    """Yields the name of each map, the words to fit it on, and its ridge."""
    rows = np.array(list(lists.load(f"{commands.MODELS}/words.json")[0]))
    for ratio in RATIOS:
        for seed in WORD_SEEDS:
            shuffled = np.random.default_rng(seed).permutation(rows)
            count = int(ratio * WIDTH)
            words = Words.from_rows(shuffled[:count], shuffled[-HELD_OUT:])
            for ridge in RIDGES:
                yield f"{ratio:g}-{ridge}-{seed}", words, ridge


def table(output: pathlib.Path, residuals: dict[str, dict[str, float]]) -> str:
    """Returns a table of mean residuals and accuracies over words divided by width."""
    lines = ["| words / width | ridge | residual | mean accuracy | worst |"]
    lines.append("|---|---|---|---|---|")
    for ratio in RATIOS:
        for ridge in RIDGES:
            names = [f"{ratio:g}-{ridge}-{seed}" for seed in WORD_SEEDS]
            residual = statistics.fmean(
                residuals[target][name] for target in story.TARGETS for name in names
            )
            found = [
                _accuracy(output / "evaluated" / target / f"{name}-{seed}")
                for target in story.TARGETS
                for name in names
                for seed in PROMPT_SEEDS
            ]
            lines.append(
                f"| {ratio:g} | {ridge or 'none'} | {residual:.2f} | "
                f"{statistics.fmean(found):.1f} % | {min(found):.1f} % |"
            )
    return "\n".join(lines)


def _accuracy(folder: pathlib.Path) -> float:
    path = metrics_file.place(str(folder), f"demo_{TASK}")
    lines = pathlib.Path(path).read_text().splitlines()
    return json.loads(lines[-1])["accuracy"]


def _tuning(output: pathlib.Path, seed: int) -> Command:
    return commands.tune(
        story.SOURCE,
        TASK,
        output / "source" / str(seed),
        f"{commands.GIN}/words.gin",
        PROMPT_SEED=seed,
        RANDOM_SEED=seed,
        EVAL_PERIOD=100,
        CHECKPOINT_PERIOD=100,
    )


def _evaluating(output: pathlib.Path, target: str) -> Command:
    size = "wide" if target == "wide" else "tiny"
    return Command(
        "evaluate_prompts",
        (
            f"{commands.GIN}/{size}_prompt.gin",
            f"{commands.GIN}/evaluate_prompts.gin",
        ),
        (
            ("INITIAL_CHECKPOINT_PATH", f"{commands.MODELS}/{target}"),
            ("MIXTURE_OR_TASK_NAME", f"demo_{TASK}"),
            ("PROMPT_MANIFEST", str(output / f"{target}.json")),
        ),
        output,
    )


if __name__ == "__main__":
    main()
