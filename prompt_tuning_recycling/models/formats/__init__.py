"""Formats: how a checkpoint's bytes are stored. Each format has its own file and
implements `base.Checkpoint`. Layouts say what the names in a checkpoint mean.
"""
