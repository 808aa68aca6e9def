"""T5X's own networks with a soft prompt, which `models/scalable_*_prompt.gin` and
`models/decoder_only_*_prompt.gin` declare.
"""
