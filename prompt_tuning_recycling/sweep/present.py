"""Which of a sweep's prompts are there and need not be made again."""

from __future__ import annotations

import concurrent.futures
import functools
from collections.abc import Sequence

from etils import epath

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files import as_path, names, reason, storage_errors
from prompt_tuning_recycling.files.json_files import DAMAGED
from prompt_tuning_recycling.initial_prompts.base import checkpoint_changes
from prompt_tuning_recycling.models import open_model
from prompt_tuning_recycling.prompts.prompt import load_record, record_path, tidy
from prompt_tuning_recycling.sweep.plan import Item

# Most of the time they wait for the disk or the network.
_THREADS = 16


def valid(items: Sequence[Item]) -> tuple[set[str], list[str]]:
    """Returns the outputs that need not be made again, and why others must be, as texts
    for messages. An output without a record is not made again.

    Raises:
      RecyclingError: a folder cannot be looked into.
    """
    present, interrupted = _present(items)
    found = [item for item in items if item.output in present]
    opened = functools.cache(open_model)

    def changes(item: Item) -> list[str]:
        try:
            record = load_record(item.output, aside=False)
        except RecyclingError as error:
            # A command that was killed may have replaced the record alone.
            return [f"{error}"] if record_path(item.output).exists() else []
        try:
            tuned = opened(item.prompt_from)
            return checkpoint_changes("the prompt", record["prompt"], tuned)
        except (RecyclingError, *DAMAGED):
            # The prompt is gone, or what it was is not known.
            return []

    with concurrent.futures.ThreadPoolExecutor(_THREADS) as threads:
        of_each = dict(zip(found, threads.map(changes, found), strict=True))
    again = dict.fromkeys(text for texts in of_each.values() for text in texts)
    whole = {item.output for item, texts in of_each.items() if not texts}
    for output in whole & interrupted:
        tidy(output)
    return whole, list(again)


def _present(items: Sequence[Item]) -> tuple[set[str], set[str]]:
    """The outputs that exist, and those with temporary files in their folders. A prompt
    is written after its record.
    """
    held: dict[str, set[str]] = {}
    found = set()
    for item in items:
        folder = as_path(item.output).parent
        if str(folder) not in held:
            held[str(folder)] = _names(folder)
        name = as_path(item.output).name
        # Listings leave out names that end in `~`, such as an editor's backups.
        if name in held[str(folder)] or (
            name.endswith("~") and as_path(item.output).exists()
        ):
            found.add(item.output)
    disturbed = {
        folder
        for folder, inside in held.items()
        if any(name.endswith(".tmp") for name in inside)
    }
    interrupted = {
        item.output for item in items if str(as_path(item.output).parent) in disturbed
    }
    return found, interrupted


def _names(folder: epath.Path) -> set[str]:
    try:
        return names(folder)
    except storage_errors() as error:
        raise RecyclingError(
            f"cannot look for prompts in {folder}: {reason(error)}. Check its "
            "permissions, or the network and your credentials."
        ) from error
