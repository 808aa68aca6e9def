"""T5X's own networks with a soft prompt. `models/t5x_*_prompt.gin` declare them."""
