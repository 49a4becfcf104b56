"""The architecture, checked on the source files: which module may import which, what none may do.

`pfpn` is imported only in a fresh process here, so these tests run even when an import is broken.
"""

import ast
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "pfpn"

# Bottom first: a module imports only those before it. A package's __init__ comes right after
# its last module (it may re-export their names), pfpn's own after the core.
# Each chapter has a folder with its numbers, figures and exercises; none imports another's.
CHAPTERS = [
    "course.ch00_overview",
    "course.ch01_fpn",
    "course.ch02_semantic",
    "course.ch03_proposals",
    "course.ch04_boxes_masks",
    "course.ch05_two_tasks",
    "course.ch06_lovasz",
    "course.ch07_surfaces",
    "course.ch08_practice",
    "course.ch09_merging",
    "course.ch10_quality",
    "course.ch11_for_real",
]
# fmt: off
CORE = [
    "version",
    "structures",
    "inputs",
    "_loops", "compiled",
    "boxes",
    "losses.segmentation", "losses._lovasz_rows", "losses._lovasz_fast",
    "losses._lovasz_autograd", "losses._arguments", "losses.lovasz", "losses.modules", "losses",
    "backbone", "fpn",
    "semantic",
    "model_config",
    "anchors", "matching", "rpn",
    "roi_align", "roi", "box_head", "mask_head", "roi_heads",
    "model",
    "paste", "merge", "predict",
    "pairs", "quality", "metric",
]
AROUND = [
    "torchmetric", "export",
    "shipped", "files", "webpages",
    "data.threads", "data.categories", "data.images", "data.coco", "data.predictions",
    "data.check", "data.score",
    "data.street", "data.toy", "data.transforms",
    "data.loader", "data.download", "data.formats", "data.split", "data",
    "engine.signals", "engine.config", "engine.presets", "engine.distributed",
    "engine.checkpoint", "unpickle", "zoo", "engine.initial",
    "engine.batches", "engine.record", "engine.rows",
    "engine.threads", "engine.muon", "engine.optim", "engine.memory", "engine.evaluate",
    "engine.run", "engine.preflight", "engine.train", "engine",
    "plot.style", "plot.palette", "plot.panoptic", "plot.boxes", "plot.scores", "plot.mistakes",
    "plot.surface", "plot.landscape", "plot.plane", "plot.curves", "plot",
    "course.values", "course.iou", "course.draw", "course.check", "course.yours",
    "course.photograph", "course.start", "course.real", "course.show",
    "course.describe", "course.hold", "course.ask", "course.explore",
    "course.capstone_parts", "course.capstone_network", "course.capstone_stages",
    "course.capstone_figures", "course.capstone_report", "course.capstone_training",
    "course.capstone_rescue", "course.capstone_quality", "course.capstone_gather",
    "course.capstone", *CHAPTERS,
    "course.encode", "course.answering", "course.kernel", "course.grade", "course",
    "fold", "lab", "report", "browse",
    "kit.chapter", "kit.plan", "kit.words", "kit.formula", "kit.slides", "kit.quiz",
    "kit.notes", "kit.handout", "kit.nbgrader", "kit.schedule", "kit.make", "kit",
    "demo",
    "cli",
    "__main__",
]
# fmt: on
ORDER = [*CORE, "__init__", *AROUND]
MAX_CORE_LINES = 3000  # one sitting: a third of them are words; without the faster twins
BESIDE = (
    *("roi_align", "inputs", "_loops", "compiled", "pairs"),
    *("losses._lovasz_rows", "losses._lovasz_fast", "losses._lovasz_autograd"),
    *("losses._arguments", "losses.modules", "metric"),
)

# The only modules that may import a library, as prefixes of their names. Light modules make
# `import pfpn` fast; figures and sliders are outside of the core; images are read under data/.
# predict resizes with PIL, with whose rounding the published weights were trained.
ALLOWED = {
    "matplotlib": ("plot", "course", "kit.formula"),
    "ipywidgets": ("course",),
    "IPython": ("course",),
    "PIL": ("predict", "data", "course", "browse", "cli", "kit.slides"),
    "torchvision": ("boxes", "roi_align", "backbone", "zoo", "data", "cli.listing"),
    "pycocotools": ("data", "engine.evaluate"),
    "safetensors": ("zoo", "engine"),
    "pickle": ("unpickle",),
    "torchmetrics": ("torchmetric",),
    "onnx": ("export",),
    "onnxruntime": ("export",),
    "panopticapi": (),
    "detectron2": (),
    "scipy": (),
}


def module_name(path: Path) -> str:
    """pfpn/data/coco.py is data.coco; an __init__.py has its package's name, the first its own."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


FILES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


@cache
def tree(name: str) -> ast.Module:
    return ast.parse(FILES[name].read_text(encoding="utf-8"), filename=str(FILES[name]))


def location(name: str, node: ast.AST) -> str:
    return f"{FILES[name].relative_to(ROOT)}:{node.lineno}"  # type: ignore[attr-defined]


def imports(name: str) -> Iterator[tuple[ast.stmt, str]]:
    """Every dotted name that a module imports, at its top or in a function, no longer relative."""
    package = ["pfpn", *name.split(".")]
    if FILES[name].name != "__init__.py":
        package = package[:-1]
    elif name == "__init__":
        package = ["pfpn"]
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *(node.module or "").split(".")]).strip(".")
            for alias in node.names:
                # `from pfpn.losses import lovasz` imports the module pfpn.losses.lovasz.
                inner = f"{source}.{alias.name}"
                yield node, inner if inner.removeprefix("pfpn.") in FILES else source


def rank(name: str) -> int | None:
    """The position in ORDER; the modules of a package listed only as a whole have its position."""
    while name not in ORDER and "." in name:
        name = name.rpartition(".")[0]
        if any(entry.startswith(f"{name}.") for entry in ORDER):
            return None  # its siblings are listed one by one, so it must be too
    return ORDER.index(name) if name in ORDER else None


def may_import(importer: str, imported: str) -> bool:
    """Whether ORDER allows it; in a package listed only as a whole, modules may use each other."""
    mine, theirs = rank(importer), rank(imported)
    if mine is None or theirs is None:
        return False
    as_a_whole = mine == theirs and ORDER[mine] != imported  # its __init__ re-exports their names
    return theirs < mine or (as_a_whole and importer != imported)


def calls(name: str) -> Iterator[tuple[ast.Call, str]]:
    """Every call in a module with the called name as it is written, for instance torch.load."""
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Call):
            yield node, ast.unparse(node.func)


def keyword(call: ast.Call, name: str) -> object:
    """The constant that a call passes by this name, None if it passes none."""
    values = [k.value for k in call.keywords if k.arg == name]
    return values[0].value if values and isinstance(values[0], ast.Constant) else None


def assert_none(violations: list[str], rule: str) -> None:
    assert not violations, "\n".join([rule, *dict.fromkeys(violations)])


def test_every_module_is_in_the_order():
    unlisted = [str(path.relative_to(ROOT)) for name, path in FILES.items() if rank(name) is None]
    assert_none(unlisted, "Add these files to ORDER (tests/test_architecture.py):")


def test_the_order_lists_no_module_twice():
    assert len(ORDER) == len(set(ORDER))


def test_a_module_imports_only_what_stands_before_it():
    violations = []
    for name in FILES:
        for node, source in imports(name):
            imported = source.removeprefix("pfpn.") if source != "pfpn" else "__init__"
            if source.split(".")[0] == "pfpn" and not may_import(name, imported):
                violations.append(f"{location(name, node)}: {name} imports {source}")
    assert_none(violations, "A module imports only modules that stand before it in ORDER:")


def test_may_import_by_example():
    assert may_import("model", "boxes")
    assert may_import("engine.train", "model")
    assert not may_import("boxes", "model")
    assert not may_import("quality", "data.coco")
    assert not may_import("data.coco", "data.toy")
    assert not may_import("model", "unheard_of")
    assert not may_import("data.unheard_of", "model")
    assert may_import("course.ch01_fpn.one", "course.ch01_fpn.two")
    assert not may_import("course.ch01_fpn.one", "course.ch01_fpn.one")
    assert may_import("course.ch01_fpn", "course.ch01_fpn.one")
    assert not may_import("course.ch01_fpn.one", "course.ch01_fpn")
    assert not may_import("course.ch01_fpn.one", "cli")


def chapter_folder(name: str) -> str:
    """The chapter's folder of a module, such as "course.ch01_fpn"; "" outside of chapters."""
    return next((c for c in CHAPTERS if name == c or name.startswith(f"{c}.")), "")


def test_no_chapter_imports_another():
    crossings = [
        f"{location(name, node)}: {source}"
        for name in FILES
        for node, source in imports(name)
        if chapter_folder(name)
        and chapter_folder(source.removeprefix("pfpn.")) not in ("", chapter_folder(name))
    ]
    assert_none(
        crossings, "What two chapters use belongs to pfpn/plot, not to one of their folders:"
    )


@pytest.mark.parametrize(
    "path", sorted((ROOT / "notebooks").rglob("[01]*.ipynb")), ids=lambda p: p.name
)
def test_a_notebook_imports_no_other_chapters_folder(path):
    chapters = set(re.findall(r"pfpn\.course\.ch(\d\d)_", path.read_text(encoding="utf-8")))
    assert chapters <= {path.name[:2]}


def test_numbers_are_computed_without_matplotlib():
    drawing = [
        f"{location(name, node)}: {source}"
        for name in FILES
        for node, source in imports(name)
        if chapter_folder(name)
        and name.endswith(".numbers")
        and source.split(".")[0] == "matplotlib"
    ]
    assert_none(drawing, "numbers.py computes; figures.py beside it paints:")


@pytest.mark.parametrize("library", ALLOWED)
def test_a_library_is_imported_only_where_it_belongs(library):
    violations = [
        f"{location(name, node)}: {source}"
        for name in FILES
        for node, source in imports(name)
        if source.split(".")[0] == library
        and not any(name == module or name.startswith(f"{module}.") for module in ALLOWED[library])
    ]
    modules = ", ".join(ALLOWED[library]) or "no module"
    assert_none(violations, f"{library} may be imported by {modules} alone:")


def test_nothing_is_read_in_a_way_that_can_execute_code():
    violations = []
    for name in FILES:
        for call, function in calls(name):
            where = f"{location(name, call)}: {ast.unparse(call)}"
            if function == "torch.load" and keyword(call, "weights_only") is not True:
                violations.append(where)
            if function.endswith(("np.load", "numpy.load")) and keyword(call, "allow_pickle"):
                violations.append(where)
            if function in ("eval", "exec", "yaml.load", "os.system", "torch.hub.load"):
                violations.append(where)
            if keyword(call, "shell"):
                violations.append(where)
    assert_none(violations, "Read tensors with safetensors or torch.load(..., weights_only=True):")


def test_library_code_does_not_print():
    # check(), hint() and run_capstone() print to a learner
    to_a_learner = ("course.check", "course.yours", "course.photograph", "course.capstone")
    may_print = ("cli", "__main__", *to_a_learner)
    violations = [
        location(name, call)
        for name in FILES
        for call, function in calls(name)
        if name not in may_print and not name.startswith("cli.")
        # printing to a stream that the caller passes is allowed
        if function == "print" and not any(k.arg == "file" for k in call.keywords)
    ]
    assert_none(violations, "Only the command line prints; a library returns, yields or logs:")


def test_figures_are_made_without_pyplot():
    violations = [
        f"{location(name, node)}: {source}"
        for name in FILES
        for node, source in imports(name)
        if source.startswith(("matplotlib.pyplot", "pylab"))
    ]
    assert_none(
        violations,
        "pyplot keeps global state and shows figures twice; use matplotlib.figure.Figure:",
    )


# These call a learner's code, which can raise anything, and show it.
LEARNERS_CODE = (
    "course.check", "course.yours", "course.explore", "course.capstone_report", "course.kernel",
    "course.grade",
)  # fmt: skip


def test_no_error_is_swallowed_blindly():
    violations = [
        location(name, node)
        for name in FILES
        if name not in LEARNERS_CODE
        for node in ast.walk(tree(name))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or ast.unparse(node.type) in ("Exception", "BaseException"))
        and not any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
    ]
    assert_none(violations, "Name the errors that are expected:")


def test_data_are_not_checked_with_assert():
    def narrows_a_type(test: ast.expr) -> bool:  # what mypy cannot infer and no input can change
        is_not_none = isinstance(test, ast.Compare) and isinstance(test.ops[0], ast.IsNot)
        return is_not_none or ast.unparse(test).startswith("isinstance(")

    violations = [
        location(name, node)
        for name in FILES
        for node in ast.walk(tree(name))
        if isinstance(node, ast.Assert) and not narrows_a_type(node.test)
    ]
    assert_none(
        violations,
        "python -O removes assert; raise ValueError with where, found, expected, remedy:",
    )


def test_every_module_class_and_public_function_says_what_it_is_for():
    violations = []
    for name in FILES:
        if not ast.get_docstring(tree(name)):
            violations.append(str(FILES[name].relative_to(ROOT)))
        violations += [
            f"{location(name, node)}: {node.name}"
            for node in tree(name).body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            and not node.name.startswith("_")
            and not ast.get_docstring(node)
        ]
    assert_none(violations, "These lack a docstring:")


LONG_FUNCTIONS = {"engine.train: train": 110}  # the loop, which is meant to be read whole
MAX_FUNCTION_LINES, MAX_MEDIAN_LINES = 60, 12


def test_functions_are_short():
    lengths = {
        (name, node.name, node.lineno): (node.end_lineno or 0) - node.lineno + 1
        for name in FILES
        for node in ast.walk(tree(name))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    long = [
        f"{name}:{line}: {function} has {length} lines"
        for (name, function, line), length in lengths.items()
        if length > LONG_FUNCTIONS.get(f"{name}: {function}", MAX_FUNCTION_LINES)
    ]
    assert_none(long, f"A function has at most {MAX_FUNCTION_LINES} lines:")
    assert statistics.median(lengths.values()) <= MAX_MEDIAN_LINES


def test_the_core_can_be_read_in_one_sitting():
    lines = {
        name: len(FILES[name].read_text(encoding="utf-8").splitlines())
        for name in CORE
        if name in FILES and name not in BESIDE
    }
    table = "\n".join(f"{count:5d}  {name}" for name, count in lines.items())
    assert sum(lines.values()) <= MAX_CORE_LINES, (
        f"The core has {sum(lines.values())} lines, {MAX_CORE_LINES} are its budget:\n{table}"
    )


HEAVY = ("matplotlib", "pycocotools", "ipywidgets", "IPython", "PIL", "tensorboard", "scipy")
# torchvision imports PIL when it is imported itself, so what needs torchvision cannot do without.
# (tqdm is not on the list, because torch imports it.)
FIRST_IMPORTS = {
    "pfpn": HEAVY,
    "pfpn.structures": HEAVY,
    "pfpn.losses.lovasz": HEAVY,
    "pfpn.quality": HEAVY,
    "pfpn.model": tuple(set(HEAVY) - {"PIL"}),
    "pfpn.cli": (*HEAVY, "torch", "torchvision"),
}


@pytest.mark.parametrize("module", FIRST_IMPORTS)
def test_an_import_loads_nothing_that_it_does_not_need(module):
    program = (
        f"import sys, {module}; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr
    loaded = result.stdout.split()
    assert "pfpn" in loaded
    surplus = sorted(set(FIRST_IMPORTS[module]) & set(loaded))
    assert not surplus, f"import {module} also loads {', '.join(surplus)}"
