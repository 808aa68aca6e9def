"""What has been done of a manifest: which results are there, whole, and of the prompt
that its file has now.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from etils import epath

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.evaluation import metrics_file, scores_file
from prompt_tuning_recycling.evaluation.manifest import Evaluation, Manifest
from prompt_tuning_recycling.evaluation.scores_file import Drawing
from prompt_tuning_recycling.models import open_model
from prompt_tuning_recycling.prompts import find_prompt


class Progress:
    """Which evaluations of a manifest are done. It looks each time that it is asked,
    since other jobs write, too.
    """

    def __init__(self, manifest: Manifest, tasks: Sequence[str]) -> None:
        """Takes the manifest, and the names of the tasks whose metrics it needs."""
        self._manifest = manifest
        self._tasks = tasks
        self._digests: dict[epath.PathLike, str | None] = {}

    def is_done(self, entry: Evaluation) -> bool:
        """Whether an evaluation's metrics and scores are complete."""
        return self.is_evaluated(entry) and not self.unscored(entry)

    def unscored(self, entry: Evaluation) -> list[Drawing]:
        """The inputs of which there is no complete file of the prompt's scores."""
        found = []
        for drawing in self._manifest.scored(entry):
            try:
                scores = scores_file.read(scores_file.place(entry.output_dir, drawing))
            except RecyclingError:
                found.append(drawing)
                continue
            if self._is_of_another(entry, scores.prompt):
                found.append(drawing)
        return found

    def is_evaluated(self, entry: Evaluation) -> bool:
        """Whether the metrics files of all tasks exist and are complete, or none are
        asked for.
        """
        if entry.scores_only:
            return True
        for task in self._tasks:
            try:
                metrics_file.read(metrics_file.place(entry.output_dir, task))
            except RecyclingError:
                return False
        evaluated = metrics_file.read_prompt(entry.output_dir)
        return not self._is_of_another(entry, evaluated)

    def _is_of_another(self, entry: Evaluation, prompt: str | None) -> bool:
        """Whether results are of another prompt than the file has now."""
        now = self.digest(entry)
        return prompt is not None and now is not None and prompt != now

    def digest(self, entry: Evaluation) -> str | None:
        """The digest of an evaluation's prompt; None if it is not in a file, or gone.
        The file is read once in a job.
        """
        if entry.prompt is None:
            return None
        if entry.prompt not in self._digests:
            self._digests[entry.prompt] = None
            with contextlib.suppress(RecyclingError):
                prompt = find_prompt(open_model(entry.prompt))
                digest = prompt.checkpoint.fingerprint(prompt.name)
                self._digests[entry.prompt] = digest
        return self._digests[entry.prompt]
