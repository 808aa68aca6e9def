"""Formats: how a checkpoint's bytes are stored. One file each; `base.Checkpoint` is
what each of them offers. What the names in a checkpoint mean is a layout's matter.
"""
