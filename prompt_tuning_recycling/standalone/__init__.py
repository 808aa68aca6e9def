"""Trains, evaluates and infers without T5X, by its gin files, checkpoints and outputs.

This is for laptops, continuous integration and a quick look, on one device. Use T5X for
model parallelism, several hosts or packing.
"""
