"""Large-scale experiments: recycle many prompts between many models, evaluate them, and
report the results. `configuration` and `plan` define the work, `work` does it, `engine`
shares it among processes and machines, and `results` and `report` show the outcome.
"""
