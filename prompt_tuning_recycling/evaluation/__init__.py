"""Evaluates many prompts on one model in any host: `manifest` lists the evaluations,
`job` does the missing ones, and `metrics_file` knows what an evaluation writes, and
where.
"""
