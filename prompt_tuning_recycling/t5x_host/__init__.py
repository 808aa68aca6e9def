"""What runs inside T5X: it adds the initial prompt on restore, exports prompts at every
save, and trains the prompt alone. This is the only package that imports t5x.
"""
