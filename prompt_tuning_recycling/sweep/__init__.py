"""Large-scale experiments: many prompts, recycled between many models, evaluated and
reported. `configuration` and `plan` say what is to be done, `work` does it, `engine`
shares it among processes and machines, `results` and `report` show what came of it.
"""
