"""The errors that storage raises, and their explanations."""

import sys
import types

from prompt_tuning_recycling.files import reason, storage_errors, store_errors


def test_a_librarys_errors_count_once_it_is_imported(monkeypatch):
    monkeypatch.delitem(sys.modules, "botocore.exceptions", raising=False)
    before = store_errors()

    class ClientError(Exception):
        pass

    class BotoCoreError(Exception):
        pass

    module = types.ModuleType("botocore.exceptions")
    module.ClientError, module.BotoCoreError = ClientError, BotoCoreError
    monkeypatch.setitem(sys.modules, "botocore.exceptions", module)
    assert set(store_errors()) == {*before, ClientError, BotoCoreError}


def test_storage_errors_are_those_of_disks_and_stores_and_what_is_asked():
    found = storage_errors(KeyError)
    assert OSError in found and KeyError in found
    assert set(store_errors()) <= set(found)


def test_a_reason_is_one_line_without_the_path():
    assert reason(FileNotFoundError(2, "No such file or directory", "/x")) == (
        "No such file or directory"
    )
    assert reason(ValueError("one\n  two.")) == "one two"
