"""Prints the folder of the package's gin files, for gin's search path:

python -m t5x.train \\
  --gin_search_paths="$(python -m prompt_tuning_recycling.gin_path)" ...
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from prompt_tuning_recycling import command_line
from prompt_tuning_recycling.errors import RecyclingError


def gin_path() -> str:
    """Returns the folder of the gin files: inside the package if it was installed from
    a wheel, beside it in a checkout or an editable install.

    Raises:
      RecyclingError: the files are in neither place; the installation is broken.
    """
    package = pathlib.Path(__file__).resolve().parent
    candidates = (package / "gin", package.parent / "gin")
    for folder in candidates:
        if (folder / "recyclers" / "v2v_lin.gin").is_file():
            return str(folder)
    raise RecyclingError(
        "the gin files of prompt_tuning_recycling are not installed; looked in "
        f"{' and '.join(map(str, candidates))}. Install the package again."
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    command_line.parser(
        "gin_path",
        "[--help]",
        "Print the folder of the package's gin files, for --gin_search_paths.",
    ).parse_args(arguments)
    print(gin_path())


if __name__ == "__main__":
    raise SystemExit(command_line.run(main))
