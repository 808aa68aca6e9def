"""Fixtures: every writer with small inputs, and the processes that they run in."""

from __future__ import annotations

import pytest

from ..converting.conftest import save  # noqa: F401
from ..sweep.conftest import content, write_config  # noqa: F401
from .disturbing import Server, build_shim
from .writers_of_files import (  # noqa: F401
    adapter,
    export,
    kept_prompt,
    run_recycle,
    to_hugging_face,
    to_t5x,
)
from .writers_of_standalone import (  # noqa: F401
    choose,
    evaluate,
    evaluate_prompts,
    host,
    instruction,
    recycling,
    train,
)
from .writers_of_sweeps import (  # noqa: F401
    collect,
    evaluated,
    report,
    small,
    sweep,
    sweep_clobber,
)

PACKAGE = "prompt_tuning_recycling"
STANDALONE = f"{PACKAGE}.standalone"


@pytest.fixture(scope="session")
def shim(tmp_path_factory):
    """The compiled shim."""
    path = build_shim(tmp_path_factory.mktemp("shim"))
    if path is None:
        pytest.skip("faults need Linux and a C compiler, cc or gcc")
    return path


def server_of(*modules):
    @pytest.fixture(scope="session")
    def server(shim, tmp_path_factory):
        server = Server(shim, tmp_path_factory.mktemp("server"), modules)
        yield server
        server.close()

    return server


of_files = server_of(
    f"{PACKAGE}.run_recycle", f"{PACKAGE}.convert", f"{PACKAGE}.converting", "writing"
)
of_sweeps = server_of(
    f"{PACKAGE}.recycle",
    f"{PACKAGE}.sweep.engine",
    f"{PACKAGE}.collect_recycling_results",
    f"{PACKAGE}.report",
    f"{PACKAGE}.sweep.report",
)
of_standalone = server_of(
    "tiny_tasks",
    *(
        f"{STANDALONE}.{name}"
        for name in (
            "train",
            "training",
            "eval",
            "evaluation",
            "evaluate_prompts",
            "prompt_evaluation",
            "choose",
            "choosing",
        )
    ),
)
