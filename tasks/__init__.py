"""SeqIO tasks. Each is one file; installed as `prompt_tuning_recycling.tasks`."""
