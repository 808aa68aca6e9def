#!/bin/bash
# From nothing to a recycled prompt, in T5X alone:
#
#   bash from_nothing.sh FOLDER
#
# Needs a Python that has T5X and this package (docs/t5x.md says how to install them), but
# no downloads. Prints each command before it runs, and then its results. Takes about ten
# minutes of processor time.
set -eu
examples="$(cd "$(dirname "$0")" && pwd)"
mkdir -p "$1"
cd "$1"
trap 'echo "Stopped. The newest of $PWD/*.log says why." >&2' ERR
set -v

# A vocabulary, texts, and gin files.
python "$examples/make_data.py" .
gin="$(python -m prompt_tuning_recycling.gin_path)"

# A language model, from random parameters.
python -m t5x.train --gin_search_paths="$gin" \
  --gin_file=tiny.gin \
  --gin_file=runs/t5x/pretrain.gin \
  --gin_file=pretraining.gin \
  --gin.MODEL_DIR="'$PWD/source'" \
  --gin.TRAIN_STEPS=1500 \
  --gin.LEARNING_RATE=2.0 \
  --gin.RANDOM_SEED=1 \
  --gin.EVAL_PERIOD=500 2> source.log
cat source/inference_eval/pretraining_generation-metrics.jsonl

# A prompt for this model. The run starts from random words, and evaluates them first.
python -m t5x.train --gin_search_paths="$gin" \
  --gin_file=tiny_prompt.gin \
  --gin_file=random_words.gin \
  --gin_file=runs/t5x/prompt_finetune.gin \
  --gin_file=topics.gin \
  --gin.INITIAL_CHECKPOINT_PATH="'$PWD/source/checkpoint_1500'" \
  --gin.MODEL_DIR="'$PWD/tuned'" \
  --gin.TRAIN_STEPS_RELATIVE=100 \
  --gin.LEARNING_RATE=0.02 \
  --gin.RUN_EVAL_BEFORE_TRAINING=True \
  --gin.EVAL_PERIOD=50 2> tuned.log
cat tuned/inference_eval/topics_generation-metrics.jsonl

# The model's successor, trained anew from other random parameters.
python -m t5x.train --gin_search_paths="$gin" \
  --gin_file=tiny.gin \
  --gin_file=runs/t5x/pretrain.gin \
  --gin_file=pretraining.gin \
  --gin.MODEL_DIR="'$PWD/target'" \
  --gin.TRAIN_STEPS=1500 \
  --gin.LEARNING_RATE=2.0 \
  --gin.RANDOM_SEED=2 \
  --gin.EVAL_PERIOD=500 2> target.log
cat target/inference_eval/pretraining_generation-metrics.jsonl

# On texts that nothing was trained on: the prompt on the model that it was tuned on,
python -m t5x.eval --gin_search_paths="$gin" \
  --gin_file=tiny_prompt.gin \
  --gin_file=runs/t5x/prompt_eval.gin \
  --gin_file=topics.gin \
  --gin.INITIAL_CHECKPOINT_PATH="'$PWD/tuned/checkpoint_1600'" \
  --gin.EVAL_OUTPUT_DIR="'$PWD/on-source'" 2> on-source.log

# recycled for the other model,
python -m t5x.eval --gin_search_paths="$gin" \
  --gin_file=tiny_prompt.gin \
  --gin_file=recycle.gin \
  --gin_file=runs/t5x/prompt_eval.gin \
  --gin_file=topics.gin \
  --gin.RECYCLE_FROM="'$PWD/tuned'" \
  --gin.INITIAL_CHECKPOINT_PATH="'$PWD/target/checkpoint_1500'" \
  --gin.EVAL_OUTPUT_DIR="'$PWD/recycled'" 2> recycled.log

# copied to the other model without recycling,
python -m t5x.eval --gin_search_paths="$gin" \
  --gin_file=tiny_prompt.gin \
  --gin_file=prompts/from_file.gin \
  --gin_file=runs/t5x/prompt_eval.gin \
  --gin_file=topics.gin \
  --gin.PROMPT_FILE="'$PWD/tuned'" \
  --gin.INITIAL_CHECKPOINT_PATH="'$PWD/target/checkpoint_1500'" \
  --gin.EVAL_OUTPUT_DIR="'$PWD/copied'" 2> copied.log

# and the words from which its tuning started.
python -m t5x.eval --gin_search_paths="$gin" \
  --gin_file=tiny_prompt.gin \
  --gin_file=random_words.gin \
  --gin_file=runs/t5x/prompt_eval.gin \
  --gin_file=topics.gin \
  --gin.INITIAL_CHECKPOINT_PATH="'$PWD/target/checkpoint_1500'" \
  --gin.EVAL_OUTPUT_DIR="'$PWD/untuned'" 2> untuned.log
tail -n 1 {on-source,recycled,copied,untuned}/inference_eval/topics_generation-metrics.jsonl

# What the other model answers with the recycled prompt.
python -m t5x.infer --gin_search_paths="$gin" \
  --gin_file=tiny_prompt.gin \
  --gin_file=recycle.gin \
  --gin_file=runs/t5x/prompt_infer.gin \
  --gin_file=topics.gin \
  --gin.RECYCLE_FROM="'$PWD/tuned'" \
  --gin.INITIAL_CHECKPOINT_PATH="'$PWD/target/checkpoint_1500'" \
  --gin.INFER_OUTPUT_DIR="'$PWD/answers'" 2> answers.log
head -n 3 answers/topics_generation-predict.jsonl-00000-of-00001

# The recycled prompt, tuned further.
python -m t5x.train --gin_search_paths="$gin" \
  --gin_file=tiny_prompt.gin \
  --gin_file=recycle.gin \
  --gin_file=runs/t5x/prompt_finetune.gin \
  --gin_file=topics.gin \
  --gin.RECYCLE_FROM="'$PWD/tuned'" \
  --gin.INITIAL_CHECKPOINT_PATH="'$PWD/target/checkpoint_1500'" \
  --gin.MODEL_DIR="'$PWD/further'" \
  --gin.TRAIN_STEPS_RELATIVE=20 \
  --gin.LEARNING_RATE=0.02 \
  --gin.RUN_EVAL_BEFORE_TRAINING=True \
  --gin.EVAL_PERIOD=10 2> further.log
cat further/inference_eval/topics_generation-metrics.jsonl
