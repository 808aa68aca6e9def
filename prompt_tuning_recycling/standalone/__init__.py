"""Train, evaluate and infer without T5X: its gin files, checkpoints and outputs.

For laptops, continuous integration and a quick look, on one device. For model
parallelism, several hosts and packing there is T5X.
"""
