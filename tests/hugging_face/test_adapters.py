"""PEFT loads what this package writes, and this package reads what PEFT writes."""

import json

import numpy as np
import pytest

from prompt_tuning_recycling import (
    Prompt,
    RecyclingError,
    load_prompt,
    open_model,
    run_recycle,
    save_adapter,
)

LENGTH, WIDTH, WORDS = 4, 16, 120
T5 = {
    "vocab_size": WORDS,
    "d_model": WIDTH,
    "d_kv": 4,
    "d_ff": 32,
    "num_layers": 2,
    "num_heads": 4,
    "feed_forward_proj": "gated-gelu",
    "dropout_rate": 0.0,
    "pad_token_id": 0,
    "decoder_start_token_id": 0,
}
LLAMA = {
    "vocab_size": WORDS,
    "hidden_size": WIDTH,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
GEMMA = {**LLAMA, "head_dim": 4}
GPT2 = {"vocab_size": WORDS, "n_embd": WIDTH, "n_layer": 2, "n_head": 4}
DECODERS = {
    "Llama": LLAMA,
    "GPT2": GPT2,
    "Gemma": GEMMA,
    "Gemma2": GEMMA,
    "Gemma3Text": GEMMA,
}
CLASSES = {
    "T5": "T5ForConditionalGeneration",
    "GPT2": "GPT2LMHeadModel",
    "Gemma3Text": "Gemma3ForCausalLM",
}
TUNING = ("PROMPT_TUNING", "P_TUNING", "MULTITASK_PROMPT_TUNING")


def make_model(kind, sizes):
    import torch
    import transformers

    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**sizes)
    name = CLASSES.get(kind, f"{kind}ForCausalLM")
    return getattr(transformers, name)(config).eval()


def make_prompt(rng):
    return (3 * rng.normal(size=(LENGTH, WIDTH))).astype(np.float32)


def tokens(rng, length=7):
    import torch

    return torch.tensor(rng.integers(3, WORDS, (2, length)))


def numbers(tensor):
    return tensor.detach().numpy()


@pytest.fixture
def save(tmp_path):
    """Saves a model as transformers does: its folder."""

    def save(model, name="model"):
        model.save_pretrained(tmp_path / name)
        return tmp_path / name

    return save


def tuned_by_peft(model, of_task, kind, folder):
    """Makes an adapter of random numbers, and saves it as PEFT does."""
    import peft
    import torch

    config = {"task_type": of_task, "num_virtual_tokens": LENGTH}
    made = {
        "PROMPT_TUNING": lambda: peft.PromptTuningConfig(**config),
        "P_TUNING": lambda: peft.PromptEncoderConfig(**config, encoder_hidden_size=8),
        "MULTITASK_PROMPT_TUNING": lambda: peft.MultitaskPromptTuningConfig(
            **config, num_tasks=3, num_ranks=2
        ),
        "PREFIX_TUNING": lambda: peft.PrefixTuningConfig(**config),
        "LORA": lambda: peft.LoraConfig(task_type=of_task, r=2),
        "IA3": lambda: peft.IA3Config(task_type=of_task),
        "ADALORA": lambda: peft.AdaLoraConfig(task_type=of_task, total_step=10),
    }
    tuned = peft.get_peft_model(model, made[kind]())
    with torch.no_grad():
        for parameter in tuned.parameters():
            if parameter.requires_grad:
                parameter.copy_(torch.randn_like(parameter))
    tuned.save_pretrained(folder)
    return tuned.eval()


# What this package writes


def test_an_encoder_decoder_with_our_adapter(save, rng, tmp_path):
    import peft
    import torch

    model = make_model("T5", T5)
    prompt = make_prompt(rng)
    save_adapter(Prompt(prompt), tmp_path / "adapter", save(model))
    inputs, targets = tokens(rng), tokens(rng, 3)
    mask = torch.ones_like(inputs)
    mask[1, 5:] = 0
    ours = torch.tensor(prompt).expand(2, -1, -1)
    expected = model(
        inputs_embeds=torch.cat([ours, model.shared(inputs)], dim=1),
        attention_mask=torch.cat([torch.ones(2, LENGTH), mask], dim=1),
        decoder_input_ids=targets,
    ).logits
    without = model(
        input_ids=inputs, attention_mask=mask, decoder_input_ids=targets
    ).logits
    loaded = peft.PeftModel.from_pretrained(model, tmp_path / "adapter")
    found = loaded(
        input_ids=inputs, attention_mask=mask, decoder_input_ids=targets
    ).logits
    np.testing.assert_allclose(numbers(found), numbers(expected), atol=1e-5)
    assert not np.allclose(numbers(found), numbers(without), atol=1e-3)


@pytest.mark.parametrize("kind", DECODERS)
def test_a_decoder_with_our_adapter(save, rng, tmp_path, kind):
    import peft
    import torch

    model = make_model(kind, DECODERS[kind])
    prompt = make_prompt(rng)
    save_adapter(Prompt(prompt), tmp_path / "adapter", save(model))
    inputs = tokens(rng)
    ours = torch.tensor(prompt).expand(2, -1, -1)
    embedded = model.get_input_embeddings()(inputs)
    expected = model(inputs_embeds=torch.cat([ours, embedded], dim=1)).logits
    without = model(input_ids=inputs).logits
    loaded = peft.PeftModel.from_pretrained(model, tmp_path / "adapter")
    found = loaded(input_ids=inputs).logits
    np.testing.assert_allclose(numbers(found), numbers(expected), atol=1e-5)
    assert not np.allclose(numbers(found)[:, LENGTH:], numbers(without), atol=1e-3)


@pytest.mark.parametrize(("kind", "sizes"), [("T5", T5), ("Llama", LLAMA)])
def test_the_adapter_brings_its_model(save, rng, tmp_path, kind, sizes):
    import peft

    prompt = make_prompt(rng)
    folder = save(make_model(kind, sizes))
    save_adapter(Prompt(prompt), tmp_path / "adapter", folder)
    name = "AutoPeftModelForSeq2SeqLM" if kind == "T5" else "AutoPeftModelForCausalLM"
    loaded = getattr(peft, name).from_pretrained(tmp_path / "adapter")
    found = numbers(loaded.get_prompt(batch_size=1))[0, :LENGTH]
    np.testing.assert_array_equal(found, prompt)
    assert loaded.generate(input_ids=tokens(rng), max_new_tokens=2).shape[0] == 2


def test_peft_saves_our_adapter_as_it_is(save, rng, tmp_path):
    import peft

    model = make_model("T5", T5)
    prompt = make_prompt(rng)
    save_adapter(Prompt(prompt), tmp_path / "ours", save(model))
    peft.PeftModel.from_pretrained(model, tmp_path / "ours").save_pretrained(
        tmp_path / "theirs"
    )
    np.testing.assert_array_equal(load_prompt(tmp_path / "theirs").array, prompt)
    ours, theirs = (
        json.loads((tmp_path / name / "adapter_config.json").read_text())
        for name in ("ours", "theirs")
    )
    assert ours.keys() <= theirs.keys()
    filled_in = {"num_layers", "num_attention_heads"}
    assert {key for key in ours if ours[key] != theirs[key]} == filled_in


def test_recycled_from_one_adapter_into_another(save, rng, tmp_path):
    """One command from an adapter of PEFT to one that PEFT loads."""
    import peft

    wide = {**T5, "d_model": 24}
    source = save(make_model("T5", T5), "source")
    target_model = make_model("T5", wide)
    target = save(target_model, "target")
    tuned_by_peft(
        make_model("T5", T5), "SEQ_2_SEQ_LM", "PROMPT_TUNING", tmp_path / "tuned"
    )
    words = {str(i): f"word{i}" for i in range(3, WORDS)}
    (tmp_path / "words.json").write_text(json.dumps(words))
    run_recycle.main(
        [
            f"--source_model={source}",
            f"--target_model={target}",
            f"--prompt_path={tmp_path / 'tuned'}",
            f"--output_path={tmp_path / 'recycled'}",
            "--output_format=peft",
            "--recycler=v2v-lin",
            f"--filtered_word={tmp_path / 'words.json'}",
            "--num_words=all",
            "--word_offset=0",
        ]
    )
    table = numbers(make_model("T5", T5).shared.weight)[3:]
    wide_table = numbers(target_model.shared.weight)[3:]
    matrix = np.linalg.lstsq(table, wide_table, rcond=None)[0]
    expected = load_prompt(tmp_path / "tuned").array @ matrix
    loaded = peft.PeftModel.from_pretrained(target_model, tmp_path / "recycled")
    found = numbers(loaded.get_prompt(batch_size=1))[0, :LENGTH]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


# What PEFT writes


@pytest.mark.parametrize("kind", TUNING)
@pytest.mark.parametrize(
    ("model_kind", "sizes", "of_task"),
    [("T5", T5, "SEQ_2_SEQ_LM"), ("Llama", LLAMA, "CAUSAL_LM")],
)
def test_we_read_the_prompt_that_peft_uses(tmp_path, kind, model_kind, sizes, of_task):
    import torch

    model = make_model(model_kind, sizes)
    tuned = tuned_by_peft(model, of_task, kind, tmp_path / "adapter")
    for task in range(3) if kind.startswith("MULTITASK") else [None]:
        task_ids = None if task is None else torch.tensor([task])
        theirs = tuned.get_prompt(batch_size=1, task_ids=task_ids)
        prompt = load_prompt(open_model(tmp_path / "adapter", task=task))
        expected = numbers(theirs)[0, :LENGTH]
        np.testing.assert_allclose(prompt.array, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "model", "tasks"),
    [
        ("peft_t5_prompt_tuning", "t5_v1_1_source", [None]),
        ("peft_t5_p_tuning", "t5_v1_1_source", [None]),
        ("peft_t5_multitask", "t5_v1_1_source", [0, 1, 2]),
        ("peft_llama_prompt_tuning", "llama_source", [None]),
    ],
)
def test_the_adapters_that_are_kept(shared_data, name, model, tasks):
    import peft
    import torch
    import transformers

    folder = shared_data / "hf_written"
    auto = "AutoModelForCausalLM" if "llama" in model else "AutoModelForSeq2SeqLM"
    base = getattr(transformers, auto).from_pretrained(folder / model)
    tuned = peft.PeftModel.from_pretrained(base, folder / name)
    for task in tasks:
        task_ids = None if task is None else torch.tensor([task])
        theirs = numbers(tuned.get_prompt(batch_size=1, task_ids=task_ids))[0]
        prompt = load_prompt(open_model(folder / name, task=task))
        expected = theirs[: len(prompt.array)]
        np.testing.assert_allclose(prompt.array, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["PREFIX_TUNING", "LORA", "IA3", "ADALORA"])
def test_other_adapters_are_refused(tmp_path, kind):
    tuned_by_peft(make_model("T5", T5), "SEQ_2_SEQ_LM", kind, tmp_path / "adapter")
    with pytest.raises(RecyclingError, match=f"its peft_type is {kind}, and it "):
        open_model(tmp_path / "adapter")


def test_every_kind_of_peft_is_taken_or_refused_with_a_reason(tmp_path):
    """Kinds that PEFT gets later are refused as not known."""
    import peft

    kinds = {kind.value for kind in peft.PeftType}
    assert kinds >= set(TUNING)
    for kind in kinds - set(TUNING):
        folder = tmp_path / kind
        tuned_by_peft(make_model("T5", T5), "SEQ_2_SEQ_LM", "PROMPT_TUNING", folder)
        config = json.loads((folder / "adapter_config.json").read_text())
        config["peft_type"] = kind
        (folder / "adapter_config.json").write_text(json.dumps(config))
        with pytest.raises(RecyclingError, match=f"its peft_type is {kind}, and"):
            open_model(folder)
