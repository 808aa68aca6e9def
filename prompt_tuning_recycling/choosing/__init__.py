"""Chooses among prompts for a model by what the model answers on unlabeled inputs.

`unlabeled` reads inputs of a task without their labels, `criteria` has the formulas,
`candidates` recycles a prompt in several ways, `chooser` scores them on a model that a
host provides and picks one, and `refinement` improves the one that was picked.
"""
