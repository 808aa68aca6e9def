"""SeqIO tasks, one file each; installed as `prompt_tuning_recycling.tasks`."""
