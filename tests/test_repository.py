"""What lies around the package: a fact reads the same in every file, no file holds too much."""

import os
import re
import subprocess
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from tests.conftest import pytest_collection_modifyitems

ROOT = Path(__file__).resolve().parents[1]
MEGABYTE = 1_000_000

# conda-forge's names where they are not those of the package index
CONDA_NAMES = {"torch": "pytorch", "matplotlib": "matplotlib-base"}


def repository_files() -> list[Path]:
    """The tracked files; without a clone or without git, all that can belong to the project."""
    try:
        command = ["git", "-C", str(ROOT), "ls-files", "-z"]
        listed = subprocess.run(command, capture_output=True, check=True).stdout.decode()
        files = [ROOT / name for name in listed.split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        files = []
    if not files:
        own = (
            "pfpn",
            "tests",
            "notebooks",
            "benchmarks",
            "docs",
            ".ci",
            ".github",
            "data/checkpoints",
        )
        files = [path for path in ROOT.iterdir() if path.is_file()]
        files += [path for folder in own for path in (ROOT / folder).rglob("*") if path.is_file()]
        files = [
            path for path in files if not {"__pycache__", ".ipynb_checkpoints"} & set(path.parts)
        ]
    return [path for path in files if path.is_file()]


FILES = repository_files()
MARKDOWN = [path for path in FILES if path.suffix == ".md"]


def text_files() -> list[tuple[Path, str]]:
    """All but binary files, the license, and the damaged files that readers are tried on."""
    texts = []
    for path in FILES:
        data = path.read_bytes()
        is_damaged = ROOT / "tests/data_files/fuzz" in path.parents
        if b"\0" not in data and path.name != "LICENSE" and not is_damaged:
            texts.append((path.relative_to(ROOT), data.decode("utf-8")))
    return texts


def lines_with(pattern: str, texts: list[tuple[Path, str]]) -> list[str]:
    return [
        f"{path}:{number}: {line.strip()[:120]}"
        for path, text in texts
        for number, line in enumerate(text.splitlines(), 1)
        if re.search(pattern, line)
    ]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads(read("pyproject.toml"))["project"]


def split_requirement(requirement: str) -> tuple[str, str]:
    name, version = re.fullmatch(r"([A-Za-z0-9._-]+)\s*(.*)", requirement).groups()
    return name.lower(), version.replace(" ", "")


def version() -> str:
    return re.search(r'VERSION = "(.+)"', read("pfpn/version.py")).group(1)


def make_targets() -> dict[str, str]:
    """Each target that a reader may call, with its line of help."""
    return dict(re.findall(r"^([a-z-]+):.*##\s+(.+)$", read("Makefile"), flags=re.MULTILINE))


def test_conda_and_pip_install_the_same_versions(project):
    wanted = dict(
        split_requirement(requirement)
        for group in (
            project["dependencies"],
            project["optional-dependencies"]["notebooks"],
            project["optional-dependencies"]["dev"],
        )
        for requirement in group
    )
    wanted = {CONDA_NAMES.get(name, name): bounds for name, bounds in wanted.items()}
    wanted["python"] = project["requires-python"]
    listed = yaml.safe_load(read("environment.yml"))["dependencies"]
    (by_pip,) = (entry["pip"] for entry in listed if isinstance(entry, dict))
    by_conda = [entry for entry in listed if isinstance(entry, str)]
    assert by_pip[0] == "-e ."
    found = dict(split_requirement(entry) for entry in (*by_conda, *by_pip[1:]))
    assert found.pop("pip") == ""
    assert found == wanted


def test_binder_installs_the_same_versions(project):
    wanted = dict(
        split_requirement(requirement)
        for group in (project["dependencies"], project["optional-dependencies"]["notebooks"])
        for requirement in group
    )
    wanted = {CONDA_NAMES.get(name, name): bounds for name, bounds in wanted.items()}
    wanted["python"] = project["requires-python"]
    listed = yaml.safe_load(read(".binder/environment.yml"))["dependencies"]
    found = dict(split_requirement(entry) for entry in listed)
    assert found.pop("pip") == ""
    assert found == wanted
    assert os.access(ROOT / ".binder" / "postBuild", os.X_OK)


def test_the_oldest_supported_versions_are_the_lower_ends_of_the_ranges(project):
    requirements = project["dependencies"] + project["optional-dependencies"]["notebooks"]
    bounds = dict(split_requirement(requirement) for requirement in requirements)
    pins = [line for line in read(".ci/oldest.txt").splitlines() if not line.startswith("#")]
    assert {"torch", "torchvision"} <= {pin.split("==")[0] for pin in pins}
    for pin in pins:
        name, oldest = pin.split("==")
        assert bounds[name].split(",")[0] == f">={oldest.removesuffix('.*')}", name


# Versions below have published holes that matter here: code that runs when a file is read, or a
# server that lets strangers in.
HOLES = {
    "torch": "2.10",  # the reader of weights_only=True
    "pillow": "12.3",
    "jupyterlab": "4.5.7",
    "tqdm": "4.66.3",
    "filelock": "3.20.3",
}


@pytest.mark.parametrize("name", HOLES)
def test_no_version_with_a_known_hole_is_in_the_ranges(name, project):
    from packaging.specifiers import SpecifierSet
    from packaging.version import Version

    requirements = project["dependencies"] + project["optional-dependencies"]["notebooks"]
    bounds = SpecifierSet(dict(split_requirement(r) for r in requirements)[name])
    lowest = min(Version(part.version) for part in bounds if part.operator == ">=")
    assert lowest >= Version(HOLES[name])


def test_the_ranges_hold_the_oldest_and_the_newest_supported_torch(project):
    from packaging.specifiers import SpecifierSet

    bounds = dict(split_requirement(requirement) for requirement in project["dependencies"])
    for torch, torchvision in (("2.10.0", "0.25.0"), ("2.14.1", "0.29.2")):
        assert torch in SpecifierSet(bounds["torch"])
        assert torchvision in SpecifierSet(bounds["torchvision"])


# Not after a letter, a dot or a slash: there it is the end of an address or of a relative path.
MACHINE_PATH = r"(?<![\w./~*$)}-])/(?:root|home|tmp|work|opt|Users)/[A-Za-z0-9._-]"
REGISTRY = r"pypi[.]org|pythonhosted[.]org|pytorch[.]org/whl|anaconda[.](?:org|com)|npmjs[.]"


def test_no_file_names_a_path_of_some_machine():
    assert lines_with(MACHINE_PATH, text_files()) == []


def test_no_file_names_a_package_registry():
    assert lines_with(REGISTRY, text_files()) == []


def test_such_lines_would_be_found():
    path, host = "/".join(["", "home", "me", "x.png"]), ".".join(["pypi", "org"])
    page = Path("page.md")
    text = f"https://example.net/home/me\nopen('{path}')\npip install -i https://{host}/simple x\n"
    assert lines_with(MACHINE_PATH, [(page, text)]) == [f"page.md:2: open('{path}')"]
    assert lines_with(REGISTRY, [(page, text)]) == [
        f"page.md:3: pip install -i https://{host}/simple x"
    ]


def test_no_large_file_is_tracked():
    large = {
        str(path.relative_to(ROOT)): path.stat().st_size
        for path in FILES
        if path.stat().st_size > MEGABYTE and ROOT / "data" / "checkpoints" not in path.parents
    }
    assert large == {}


def test_shipped_weights_stay_small():
    sizes = {
        path.name: path.stat().st_size for path in (ROOT / "data/checkpoints").glob("*.safetensors")
    }
    assert {name: size for name, size in sizes.items() if size > 12 * MEGABYTE} == {}


def test_text_ends_with_one_newline_and_has_no_windows_line_ends():
    culprits = [
        str(path)
        for path, text in text_files()
        if text
        and path.suffix not in (".ipynb", ".json")
        and (not text.endswith("\n") or text.endswith("\n\n") or "\r" in text)
    ]
    assert culprits == []


def test_the_citation_names_both_papers_and_this_version():
    citation = yaml.safe_load(read("CITATION.cff"))
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == version()
    papers = {
        paper["identifiers"][0]["value"]: [author["family-names"] for author in paper["authors"]]
        for paper in citation["references"]
    }
    assert papers == {
        "arXiv:1901.02446": ["Kirillov", "Girshick", "He", "Dollár"],
        "arXiv:1705.08790": ["Berman", "Rannen Triki", "Blaschko"],
    }
    for paper in citation["references"]:
        assert {"type", "title", "year", "conference"} <= set(paper)


def test_the_changelog_tells_of_this_version():
    headings = re.findall(
        r"^## \[(.+?)\](?: - (\d{4}-\d\d-\d\d))?$", read("CHANGELOG.md"), re.MULTILINE
    )
    assert headings[0][0] == "Unreleased"
    assert headings[1][0] == version()
    assert all(date for _, date in headings[1:])
    citation = yaml.safe_load(read("CITATION.cff"))
    assert str(citation["date-released"]) == headings[1][1]


def test_the_licence_is_stated_alike(project):
    assert "Apache License\n                           Version 2.0" in read("LICENSE")
    assert project["license"] == yaml.safe_load(read("CITATION.cff"))["license"] == "Apache-2.0"


def test_every_promised_target_has_a_line_of_help():
    promised = {
        "help",
        "setup",
        "demo",
        "test",
        "test-long",
        "lab",
        "kit",
        "notebooks",
        "book",
        "bench",
        "mutants",
        "fuzz",
        "published",
        "lint",
        "format",
        "clean",
        "distclean",
        "weights",
    }
    assert promised == set(make_targets())


def test_help_lists_every_target():
    result = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    for target, text in make_targets().items():
        assert re.search(rf"^  {target} +{re.escape(text)}$", result.stdout, re.MULTILINE), target


def test_long_tests_run_only_where_they_are_named():
    long, plain = (
        SimpleNamespace(get_closest_marker=lambda name, marks=marks: name in marks)
        for marks in (("long", "slow"), ("slow",))
    )

    def left(markexpr: str, *arguments: str) -> list:
        items, told = [long, plain], []
        hook = SimpleNamespace(pytest_deselected=lambda items: told.extend(items))
        option = SimpleNamespace(markexpr=markexpr)
        config = SimpleNamespace(option=option, args=arguments, hook=hook)
        pytest_collection_modifyitems(config, items)
        assert len(items) + len(told) == 2
        return items

    assert left("", "tests") == left("not slow", "tests/engine") == [plain]
    assert left("long", "tests") == left("not long") == left("", "a.py::test_b") == [long, plain]


def test_spelling_is_not_checked_in_what_commands_build():
    skipped = tomllib.loads(read("pyproject.toml"))["tool"]["codespell"]["skip"].split(",")
    ignored = re.findall(r"^/?([a-z][a-z/]*)/$", read(".gitignore"), flags=re.MULTILINE)
    assert {f"./{folder}" for folder in ignored} <= set(skipped)


def test_make_refuses_a_python_that_is_too_old(tmp_path):
    old = tmp_path / "python2.7"
    old.write_text('#!/bin/sh\ncase "$1" in --version) echo Python 2.7.18;; *) exit 1;; esac\n')
    old.chmod(0o755)
    result = subprocess.run(
        ["make", "setup", f"ENV={tmp_path / 'env'}", f"PYTHON={old}"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert result.returncode != 0
    assert "Python 3.11 or newer" in result.stdout
    assert "2.7.18" in result.stdout
    assert not (tmp_path / "env").exists()


def test_a_half_built_environment_is_built_anew_and_a_ready_one_is_kept(tmp_path):
    """A stand-in for Python notes what make asks of it, so that nothing is downloaded."""
    env, log = tmp_path / "env", tmp_path / "calls"
    python = tmp_path / "python"
    python.write_text(
        "#!/bin/sh\n"
        f'echo "$1 $2 $3" >> {log}\n'
        f'[ "$2" = venv ] && mkdir -p "$3/bin" && cp "$0" "$3/bin/python"\n'
        "exit 0\n"
    )
    python.chmod(0o755)
    (env / "bin").mkdir(parents=True)
    (env / "leftover").touch()

    def setup() -> str:
        log.write_text("")
        subprocess.run(
            ["make", "setup", f"ENV={env}", f"PYTHON={python}"],
            cwd=ROOT, capture_output=True, check=True,
        )  # fmt: skip
        return log.read_text()

    calls = setup()
    assert f"-m venv {env}" in calls
    assert "-m pip install" in calls
    assert not (env / "leftover").exists()
    assert setup() == ""  # ready: nothing is asked of Python at all
    os.utime(env / ".ready", (0, 0))  # as if pyproject.toml were newer
    calls = setup()
    assert "-m pip install" in calls
    assert "-m venv" not in calls
    (env / "bin" / "python").unlink()  # as if that Python had been removed from the machine
    assert f"-m venv {env}" in setup()


def test_the_workflow_calls_targets_that_exist():
    workflow = yaml.safe_load(read(".github/workflows/ci.yml"))
    commands = [
        step["run"]
        for name, job in workflow["jobs"].items()
        if name != "platforms"  # Windows has no make
        for step in job["steps"]
        if "run" in step
    ]
    assert commands
    for command in commands:
        make, target = command.split()
        assert (make, target in make_targets()) == ("make", True), command
    assert "make test" in commands
    rows = workflow["jobs"]["test"]["strategy"]["matrix"]["include"]
    assert [row["constraint"] for row in rows] == [".ci/oldest.txt", ""]
    platforms = workflow["jobs"]["platforms"]["strategy"]["matrix"]
    assert platforms == {"os": ["windows-latest", "macos-latest"], "python": ["3.11", "3.14"]}
    assert {row["python"] for row in rows} == {"3.11", "3.14"}
    assert "schedule" in workflow[True]  # YAML 1.1 reads the key `on` as true


def test_ci_can_be_run_and_calls_make_test():
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    assert re.search(r"^make test\b", read(".ci/run"), re.MULTILINE)
    assert "set -euo pipefail" in read(".ci/run")


def test_commit_hooks_hold_off_large_files_and_run_the_same_tools_as_make():
    repos = yaml.safe_load(read(".pre-commit-config.yaml"))["repos"]
    hooks = {hook["id"]: hook for repo in repos for hook in repo["hooks"]}
    assert set(hooks) >= {
        "ruff-format",
        "ruff-check",
        "codespell",
        "check-added-large-files",
        "end-of-file-fixer",
    }
    assert hooks["check-added-large-files"]["args"] == ["--maxkb=500"]
    assert re.match(hooks["check-added-large-files"]["exclude"], "data/checkpoints/toy.safetensors")


PUBLISHED = "../../deployments/github-pages"  # GitHub's page of the site that book.yml publishes


def test_the_readme_leads_to_the_book_on_its_first_screen():
    first_screen = read("README.md").partition("\n## ")[0]
    assert f"]({PUBLISHED})" in first_screen
    assert "make book" in first_screen


def test_the_workflow_publishes_what_make_book_builds():
    jobs = yaml.safe_load(read(".github/workflows/book.yml"))["jobs"]
    (steps,) = (job["steps"] for job in jobs.values())
    commands = [step["run"] for step in steps if "run" in step]
    assert commands == ["make book"]
    (uploaded,) = (s["with"]["path"] for s in steps if "upload-pages" in s.get("uses", ""))
    assert f"--out {uploaded}\n" in read("Makefile")
    assert any("setup-node" in step.get("uses", "") for step in steps)  # for the network page


@pytest.mark.parametrize("page", MARKDOWN, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_files_lead_somewhere(page):
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = re.findall(r"\]\(<?([^)\s>]+)", text) + re.findall(r'(?:src|href)="([^"]+)"', text)
    broken = []
    for target in targets:
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target) or target == PUBLISHED:
            continue
        goal = page.parent / path if path else page
        lacks_anchor = anchor and goal.suffix == ".md" and anchor not in anchors(goal)
        if lacks_anchor or not goal.exists():
            broken.append(target)
    assert broken == []


def anchors(page: Path) -> set[str]:
    """The anchors that a hosting site makes of a page's headings."""
    if not page.exists():
        return set()
    headings = re.findall(r"^#+ +(.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
