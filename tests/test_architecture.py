"""The floor plan of docs/architecture.md, held against what the modules import."""

import ast
import functools
import graphlib
import pathlib
import re

import pytest

import prompt_tuning_recycling

NAME = "prompt_tuning_recycling"
PACKAGE = pathlib.Path(prompt_tuning_recycling.__file__).parent

# A module imports only what stands before it; those on one line do not know each other.
FLOORS = [
    ["errors", "version"],
    ["files"],
    ["command_line", "accelerators", "network", "gin_search"],
    ["models"],
    ["words"],
    ["maps"],
    ["recyclers"],
    ["records"],
    ["prompts"],
    ["recycling"],
    ["initial_prompts"],
    ["contract", "macros", "declarations"],
    ["run_folder", "kept_prompts"],
    ["choosing"],
    ["evaluation"],
    ["standalone", "t5x_host", "sweep"],
    ["converting"],
    [
        "run_recycle",
        "recycle",
        "collect_recycling_results",
        "report",
        "convert",
        "inspect_path",
        "gin_path",
    ],
]
RANKS = {name: rank for rank, floor in enumerate(FLOORS) for name in floor}
# The hosts look for the package's gin files.
ALLOWED = {("standalone", "gin_path"), ("t5x_host", "gin_path")}


@functools.cache
def modules():
    """Every module of the package: name within it -> its file."""
    # Where the tests run from a checkout, tasks/ lies beside the package.
    return {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        .removesuffix("__init__")
        .removesuffix("."): path
        for path in PACKAGE.rglob("*.py")
        if path.relative_to(PACKAGE).parts[0] not in ("tasks", "gin")
    }


def is_for_types_only(node):
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def walk(node):
    yield node
    if not is_for_types_only(node):
        for child in ast.iter_child_nodes(node):
            yield from walk(child)


@functools.cache
def imports(module):
    """What a module imports, wherever in it, but for what only its types need."""
    names = set()
    for node in walk(ast.parse(modules()[module].read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                known = inner.removeprefix(f"{NAME}.") in modules()
                names.add(inner if known else node.module)
    return names


def inside(module):
    """The modules of the package that a module imports."""
    found = {name.removeprefix(f"{NAME}.") for name in imports(module) if NAME in name}
    return {name for name in found if name in modules() and name}


def room(module):
    """The longest name of the plan that a module belongs to."""
    parts = module.split(".")
    names = [".".join(parts[:count]) for count in range(len(parts), 0, -1)]
    return next(name for name in names if name in RANKS)


def test_every_module_has_a_room():
    for module in filter(None, modules()):
        assert room(module)


def test_nothing_is_imported_from_a_higher_floor():
    back = [
        f"{module} -> {imported}"
        for module in filter(None, modules())
        for imported in inside(module)
        if room(imported) != room(module)
        and RANKS[room(imported)] >= RANKS[room(module)]
        and (room(module), imported) not in ALLOWED
    ]
    assert not back


def test_no_modules_import_each_other_in_a_circle():
    graph = {module: inside(module) for module in filter(None, modules())}
    order = list(graphlib.TopologicalSorter(graph).static_order())
    assert set(order) == set(graph)


def test_only_the_t5x_host_knows_t5x():
    foreign = {"t5x", "prompt_tuning", "flaxformer"}
    others = [
        module
        for module in modules()
        if foreign & {name.split(".")[0] for name in imports(module)}
        and room(module) != "t5x_host"
    ]
    assert not others
    assert any("t5x" in imports(module) for module in modules())


def test_sweeps_are_for_their_commands_only():
    users = {
        room(module)
        for module in filter(None, modules())
        if any(room(name) == "sweep" for name in inside(module))
    }
    assert users == {"sweep", "recycle", "collect_recycling_results", "report"}


@pytest.mark.parametrize("key", ["token_embedder", "shared.weight", "param_states"])
def test_names_of_stored_parameters_stand_in_layouts(key):
    """`network` has names of its own, which T5X's are; T5X's state has them, too."""
    elsewhere = [
        module
        for module, path in modules().items()
        if re.search(re.escape(key), path.read_text())
        and not module.startswith(("models.layouts", "network", "t5x_host"))
    ]
    assert not elsewhere
