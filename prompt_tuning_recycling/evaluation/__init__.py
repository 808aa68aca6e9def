"""Evaluates many prompts on one model, whichever host runs it: `manifest` lists what is
evaluated, `job` does what is missing of it, and `metrics_file` knows what an evaluation
writes, and where.
"""
