"""A recycler that counts how often it is fitted, in the file that FITS names."""

import dataclasses
import os
import pathlib

from prompt_tuning_recycling.recyclers import VocabToVocabLinear, register


@register
@dataclasses.dataclass(frozen=True)
class CountedLinear(VocabToVocabLinear):
    """v2v-lin, which leaves a line for every fit."""

    name = "counted"
    aliases = ()

    def learn(self, source, target):
        with pathlib.Path(os.environ["FITS"]).open("a") as file:
            file.write(f"{os.getpid()}\n")
        return super().learn(source, target)
