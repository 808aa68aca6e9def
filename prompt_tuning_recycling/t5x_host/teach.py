"""Writes a source model's answers to unlabeled inputs to a file, in T5X, for `choose`.

  python -m prompt_tuning_recycling.t5x_host.teach \\
    --gin_search_paths="$(python -m prompt_tuning_recycling.gin_path)" \\
    --gin_file=models/t5_1_1_base_prompt.gin \\
    --gin_file=runs/t5x/teach.gin --gin.NAME=VALUE ...

The flags are those of T5X's own programs.
"""

from prompt_tuning_recycling.t5x_host import gin_program
from prompt_tuning_recycling.t5x_host.choosing import teach

if __name__ == "__main__":
    gin_program.run(teach)
