"""Chooses among prompts for a model by what the model answers on unlabeled inputs.

`unlabeled` reads inputs of a task without their labels, `criteria` has the formulas,
`candidates` recycles a prompt in several ways, `chooser` lets a model that a host
provides score the results, `choice` picks one, `refinement` improves it, and `chosen`
saves it.
"""
