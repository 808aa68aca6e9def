"""Training: prompt tuning, which computes gradients of the prompt alone, and
pre-training and fine-tuning of all parameters.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
import math
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import gin
import jax
import jax.numpy as jnp
import numpy as np
import optax
import seqio
import tqdm
from clu import metric_writers
from etils import epath

from prompt_tuning_recycling import contract, initial_prompts, run_folder
from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.evaluation.gin_file import write_config
from prompt_tuning_recycling.evaluation.metrics_file import metric_lines
from prompt_tuning_recycling.files import as_path, check_store_writable
from prompt_tuning_recycling.files.staging import staged
from prompt_tuning_recycling.models import Model, open_model
from prompt_tuning_recycling.prompts.export import (
    PROMPT_REGEX,
    export_prompts,
    matches,
)
from prompt_tuning_recycling.standalone import optimizers, parameters, steps
from prompt_tuning_recycling.standalone.data import DatasetConfig, training_batches
from prompt_tuning_recycling.standalone.evaluation import Evaluation, evaluation_logs
from prompt_tuning_recycling.standalone.model import EncoderDecoder

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN_COPIES_OF_LOGS = 60


@gin.configurable(module="prompt_tuning_recycling.standalone.training")
def train(
    model: EncoderDecoder,
    optimizer: optax.GradientTransformation,
    train_dataset: DatasetConfig,
    model_dir: epath.PathLike,
    total_steps: int | None,
    relative_steps: int | None = None,
    initial_checkpoint_path: epath.PathLike | None = None,
    trainable: Sequence[str] = PROMPT_REGEX,
    max_gradient_norm: float | None = None,
    infer_eval_dataset: DatasetConfig | None = None,
    evaluator_cls: Callable[..., seqio.Evaluator] = seqio.Evaluator,
    eval_period: int = 1000,
    run_eval_before_training: bool = False,
    save_period: int = 1000,
    log_period: int = 100,
    keep: int | None = 1,
    save_dtype: str = "float32",
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """Trains a model and prints the metrics at the end. If an earlier run in the same
    folder was stopped, training resumes there.

    Args:
      model: the network and its loss.
      optimizer: the optimizer of the trained parameters.
      train_dataset: the task or mixture to train on.
      model_dir: gets checkpoints, `numpy_checkpoints`, metrics, and TensorBoard's
        events.
      total_steps: the step to train up to. As in T5X, it includes the initial
        checkpoint's steps.
      relative_steps: how many steps to train after the initial checkpoint, instead of
        `total_steps`.
      initial_checkpoint_path: the model to start from; None for a random one.
      trainable: regular expressions for the names of the parameters to train. The
        others stay as they are, and have no gradients and no optimizer state.
      max_gradient_norm: a gradient with a larger norm is scaled down to this one; None
        for no limit.
      infer_eval_dataset: the task or mixture to evaluate on; None for none.
      evaluator_cls: seqio's Evaluator with its loggers bound.
      eval_period: how many steps lie between evaluations; there is also one at the end.
        0 for none.
      run_eval_before_training: whether to evaluate what the run starts from, too.
      save_period: how many steps lie between checkpoints; there is also one at the end.
      log_period: how many steps lie between reports of the loss.
      keep: how many of the newest checkpoints to keep; None or 0 for all.
      save_dtype: the dtype in which parameters are saved.
      seed: the seed of new parameters and of dropout.

    Returns:
      Each task's metrics from the last evaluation.

    Raises:
      RecyclingError: an argument cannot be used, or the loss is not finite.
    """
    model_dir = os.fspath(as_path(model_dir))
    names = list(parameters.shapes(model.module))
    trained_names = contract.names_to_train(names, trainable)
    check_store_writable(model_dir)
    with contextlib.ExitStack() as stack:
        hold = stack.enter_context(run_folder.held(model_dir))
        latest, start, loaded = _begin(model, model_dir, initial_checkpoint_path, seed)
        first = start.step
        step = first if latest is None else latest.step
        last = _last_step(step, first, total_steps, relative_steps)

        def due(period: int) -> bool:
            """Counts from the start of the run, like its length."""
            return period > 0 and ((step - first) % period == 0 or step == last)

        trained = {name: loaded[name] for name in trained_names}
        frozen = {name: loaded[name] for name in names if name not in trained}
        if max_gradient_norm is not None:
            clip = optax.clip_by_global_norm(max_gradient_norm)
            optimizer = optax.chain(clip, optimizer)
        state = optimizers.start(optimizer, trained, step)
        if latest is not None:
            state = steps.restore_optimizer(latest, state)
        evaluation = None
        wanted = eval_period > 0 or run_eval_before_training
        if infer_eval_dataset is not None and wanted:
            evaluation = Evaluation(
                model,
                infer_eval_dataset,
                stack.enter_context(evaluation_logs(model_dir, hold)),
                evaluator_cls,
                repeated=True,
            )
        batches = training_batches(train_dataset, first=step - first)
        update = _updater(optimizer)
        saver = steps.Saver(model_dir, keep, save_dtype)
        logs = stack.enter_context(staged(os.path.join(model_dir, "train"), hold=hold))
        writer = metric_writers.create_default_writer(logs.local, asynchronous=False)
        stack.callback(writer.close)
        hold.check()
        write_config(model_dir)
        if latest is None:
            run_folder.write_start(model_dir, start)
            _export(model_dir, first, loaded)

        metrics: dict[str, dict[str, Any]] = {}
        recent: list[dict[str, jax.Array]] = []
        key = jax.random.key(seed)
        # A resumed run may have been stopped after a step's checkpoint, before its
        # evaluation.
        before = run_eval_before_training if latest is None else due(eval_period)
        if evaluation and before:
            metrics = evaluation.run(loaded, step)
        started, begun = time.monotonic(), step
        # Only a terminal shows it.
        progress = tqdm.tqdm(total=last, initial=step, unit="step", disable=None)
        for batch in itertools.islice(batches, last - step):
            dropout_key = jax.random.fold_in(key, step)
            gradients, sums = model.gradients(trained, frozen, batch, dropout_key)
            trained, state = update(gradients, state, trained)
            step += 1
            recent.append(sums)
            progress.update()
            if due(log_period):
                report = _report(recent, step)
                report["steps_per_second"] = len(recent) / (time.monotonic() - started)
                writer.write_scalars(step, report)
                progress.set_postfix(loss=f"{report['loss']:.4f}")
                writer.flush()
                logs.publish(seconds_apart=_SECONDS_BETWEEN_COPIES_OF_LOGS)
                recent, started = [], time.monotonic()
            if due(save_period):
                # A run that resumes at this step does not write them again.
                writer.flush()
                logs.publish()
                _check_finite(trained, step)
                hold.check()
                _export(model_dir, step, trained)
                saver.save(step, {**frozen, **trained}, state)
            if evaluation and due(eval_period):
                hold.check()
                metrics = evaluation.run({**frozen, **trained}, step)
                started = time.monotonic()
        progress.close()
        saver.close()
        for line in metric_lines(metrics):
            print(f"step {step}: {line}")
        done = "wrote" if step > begun else "nothing to train: the run has ended in"
        print(f"{done} {os.path.join(model_dir, f'checkpoint_{step}')}", flush=True)
        return metrics


def _begin(
    model: EncoderDecoder,
    model_dir: epath.PathLike,
    initial_checkpoint_path: epath.PathLike | None,
    seed: int,
) -> tuple[Model | None, run_folder.Start, parameters.Parameters]:
    """Returns the newest step of a run to resume (None for a new run), what the run was
    started with, and its parameters.
    """
    default = initial_prompts.RandomUniform(seed=seed)
    latest = steps.latest(model_dir)
    if latest is not None:
        start = run_folder.read_start(model_dir)
        if start is None:
            raise RecyclingError(
                f"cannot go on with the run in {model_dir}: expected run_start.json, "
                "which says what it was started with. To start a new run from its "
                "checkpoint, give that as INITIAL_CHECKPOINT_PATH and choose another "
                "MODEL_DIR."
            )
        start.check(
            initial_checkpoint_path, initial_prompts.initial_prompt(), default, seed
        )
        logger.info("resuming from %s", latest.path)
        return latest, start, parameters.load_step(latest, model.module)
    if initial_checkpoint_path is None:
        start = run_folder.Start.of(0, None, {}, seed)
        return None, start, parameters.new(model.module, seed)
    initial = open_model(initial_checkpoint_path)
    made = parameters.prompts_to_make(initial, model.module, default)
    loaded = parameters.load(initial, model.module, model_dir, default)
    step = initial.step
    start = run_folder.Start.of(step, initial_checkpoint_path, made, seed)
    return None, start, loaded


def _last_step(step: int, first: int, total: int | None, relative: int | None) -> int:
    if relative is not None:
        total = first + relative
    if total is None:
        raise RecyclingError(
            "neither TRAIN_STEPS nor TRAIN_STEPS_RELATIVE is set. Expected the step to "
            "train up to, or the number of steps after the initial checkpoint."
        )
    if total <= first:
        raise RecyclingError(
            f"there is nothing to train: the initial checkpoint is at step {first}, "
            f"and TRAIN_STEPS, which counts its steps too, is {total}. Set a larger "
            "one, or the steps after the initial checkpoint: "
            "--gin.TRAIN_STEPS_RELATIVE=..."
        )
    if total < step:
        raise RecyclingError(
            f"the run is at step {step}, beyond TRAIN_STEPS = {total}. Choose another "
            "MODEL_DIR, or train further."
        )
    return total


def _export(model_dir: epath.PathLike, step: int, named: parameters.Parameters) -> None:
    prompts = {
        name: np.asarray(array) for name, array in named.items() if matches(name)
    }
    if prompts:
        export_prompts(model_dir, step, prompts)


def _updater(
    optimizer: optax.GradientTransformation,
) -> Callable[..., tuple[dict[str, jax.Array], Any]]:
    @functools.partial(jax.jit, donate_argnums=(1, 2))
    def update(gradients: Any, state: Any, trained: Any) -> Any:
        updates, state = optimizer.update(gradients, state, trained)
        return optax.apply_updates(trained, updates), state

    return update


def _report(recent: Sequence[dict[str, jax.Array]], step: int) -> dict[str, float]:
    """Returns averages over the latest steps."""
    total = {name: sum(float(sums[name]) for sums in recent) for name in recent[0]}
    loss = total["loss"] / len(recent)
    if not math.isfinite(loss):
        raise _diverged("the loss is", step)
    return {
        "loss": loss,
        "cross_entropy_per_token": total["cross_entropy"] / total["tokens"],
        "accuracy_per_token": total["correct"] / total["tokens"],
    }


def _check_finite(trained: parameters.Parameters, step: int) -> None:
    """Checks parameters before they replace those of the last checkpoint."""
    for name, array in trained.items():
        if not jnp.isfinite(array).all():
            raise _diverged(f"numbers of {name} are", step)


def _diverged(what: str, step: int) -> RecyclingError:
    return RecyclingError(
        f"{what} no longer finite at step {step}: the training has diverged. Lower the "
        "learning rate, and start from the last checkpoint or from the beginning."
    )
