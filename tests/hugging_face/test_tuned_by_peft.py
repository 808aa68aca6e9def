"""A prompt that PEFT tunes on a converted model of the demo is recycled like the same
array in a numpy file."""

from __future__ import annotations

import json
import pathlib

import numpy as np
import pytest

from prompt_tuning_recycling import run_recycle
from prompt_tuning_recycling.converting import convert
from prompt_tuning_recycling.models import open_model

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
MODELS = CHECKOUT / "examples/demo/models"
TASK, LENGTH, STEPS, BATCH_SIZE = "demo_sentiment", 5, 100, 32

pytestmark = pytest.mark.slow


def batches():
    """The task's training examples: the inputs' and the targets' tokens."""
    import seqio

    from examples.demo import tasks  # noqa: F401

    dataset = seqio.get_mixture_or_task(f"{TASK}_train").get_dataset(
        {"inputs": 24, "targets": 2}, "train", shuffle=False
    )
    while True:
        for batch in dataset.padded_batch(BATCH_SIZE, drop_remainder=True):
            yield batch["inputs"].numpy(), batch["targets"].numpy()


def tune(folder, adapter):
    """Tunes a prompt with PEFT, from the embeddings of some words, and saves it."""
    import peft
    import torch
    import transformers

    torch.manual_seed(0)
    model = transformers.T5ForConditionalGeneration.from_pretrained(folder)
    rows = torch.randperm(400)[:LENGTH] + 50
    start = model.get_input_embeddings().weight[rows].detach()
    model = peft.get_peft_model(
        model,
        peft.PromptTuningConfig(task_type="SEQ_2_SEQ_LM", num_virtual_tokens=LENGTH),
    )
    prompt = model.prompt_encoder.default.embedding.weight
    with torch.no_grad():
        prompt[:LENGTH] = start
    optimizer = torch.optim.Adam([prompt], lr=0.02)
    losses = []
    for _, (inputs, targets) in zip(range(STEPS), batches(), strict=False):
        inputs, targets = (torch.tensor(a.astype(np.int64)) for a in (inputs, targets))
        labels = targets.masked_fill(targets == 0, -100)
        loss = model(
            input_ids=inputs, attention_mask=(inputs != 0).long(), labels=labels
        ).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    model.save_pretrained(adapter)
    return prompt[:LENGTH].detach().numpy(), losses


def accuracy(output, model, prompt):
    from prompt_tuning_recycling.standalone import eval as evaluate

    arguments = [
        *(
            f"--gin_file={file}"
            for file in (
                "examples/demo/gin/tiny_prompt.gin",
                "examples/demo/gin/eval.gin",
                "prompts/from_file.gin",
            )
        ),
        f"--gin.INITIAL_CHECKPOINT_PATH='{MODELS / model}'",
        f"--gin.MIXTURE_OR_TASK_NAME='{TASK}'",
        f"--gin.PROMPT_FILE='{prompt}'",
        f"--gin.EVAL_OUTPUT_DIR='{output}'",
    ]
    assert evaluate.main(arguments) == 0
    (metrics,) = pathlib.Path(output).glob("inference_eval/*-metrics.jsonl")
    return json.loads(metrics.read_text())["accuracy"]


def test_a_prompt_is_tuned_recycled_and_evaluated(tmp_path, monkeypatch):
    monkeypatch.chdir(CHECKOUT)
    monkeypatch.syspath_prepend(CHECKOUT)
    folder = convert(MODELS / "source", tmp_path / "source").path
    adapter = tmp_path / "adapter"
    tuned, losses = tune(folder, adapter)
    assert np.mean(losses[-10:]) < np.mean(losses[:10])
    np.testing.assert_array_equal(open_model(adapter).prompts["encoder"].read(), tuned)
    np.save(tmp_path / "tuned.npy", tuned)

    found = {
        (model, form): accuracy(tmp_path / f"{model}-{form}", model, prompt)
        for model, form, prompt in (
            ("source", "adapter", adapter),
            ("source", "array", tmp_path / "tuned.npy"),
        )
    }
    for form, prompt in (("adapter", adapter), ("array", tmp_path / "tuned.npy")):
        # From and to each form: PEFT's and numpy's.
        output = tmp_path / f"recycled-{form}"
        run_recycle.main(
            [
                f"--source_model={folder if form == 'adapter' else MODELS / 'source'}",
                f"--target_model={MODELS / 'target-1'}",
                f"--prompt_path={prompt}",
                f"--output_path={output}",
                f"--output_format={'peft' if form == 'adapter' else 'numpy'}",
                "--recycler=procrustes",
                f"--filtered_word={MODELS / 'words.json'}",
                "--num_words=all",
                "--word_offset=0",
            ]
        )
        found["target-1", form] = accuracy(
            tmp_path / f"target-{form}", "target-1", output
        )
    print(found)  # Shown by pytest -rP.
    for model in ("source", "target-1"):
        assert found[model, "adapter"] == found[model, "array"]
        assert found[model, "adapter"] > 70
