"""All tasks of Lester et al. 2022, https://arxiv.org/abs/2208.05577."""

from prompt_tuning_recycling.tasks import c4, imdb, qqp, record, sst2

__all__ = ["c4", "imdb", "qqp", "record", "sst2"]
