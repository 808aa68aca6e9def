"""Evaluates many prompts on one model in T5X, in one job.

  python -m prompt_tuning_recycling.t5x_host.evaluate_prompts \\
    --gin_search_paths="$(python -m prompt_tuning_recycling.gin_path)" \\
    --gin_file=models/t5_1_1_base_prompt.gin \\
    --gin_file=runs/t5x/evaluate_prompts.gin --gin.NAME=VALUE ...

The flags are those of T5X's own programs.
"""

from prompt_tuning_recycling.t5x_host import gin_program
from prompt_tuning_recycling.t5x_host.prompt_evaluation import evaluate_prompts

if __name__ == "__main__":
    gin_program.run(evaluate_prompts)
