"""Evaluates many prompts on one model in any host: `manifest` lists the evaluations,
`job` does the missing ones, `metrics_file` knows what an evaluation writes, and where,
and `scores_file` likewise for scores on unlabeled inputs.
"""
