"""JAX's platform is checked before the work."""

import os
import subprocess
import sys

import pytest

CHECK = """
from prompt_tuning_recycling import RecyclingError
from prompt_tuning_recycling.accelerators import check_platform
try:
    check_platform()
    print("computes")
except RecyclingError as error:
    print(error)
"""


def check(**environment):
    done = subprocess.run(
        [sys.executable, "-c", CHECK],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.mark.slow
def test_a_platform_that_is_there():
    assert check(JAX_PLATFORMS="cpu") == "computes\n"


@pytest.mark.slow
def test_a_platform_that_jax_does_not_have():
    message = check(JAX_PLATFORMS="abacus")
    assert "JAX finds no device" in message
    assert "JAX_PLATFORMS=abacus: unset that, or set JAX_PLATFORMS=cpu" in message
