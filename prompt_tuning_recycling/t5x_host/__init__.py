"""Inside T5X: the initial prompt put in on restore, prompts exported at every save,
and an optimizer for the prompt alone. The only package that imports t5x.
"""
