"""What the files around the code say of it: versions, addresses, workflows, forms."""

import datetime
import pathlib
import re
import shutil
import subprocess
import sys

import pytest
import release_notes
import yaml
from repository import ROOT

import tf_stn

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"))
PYPROJECT = (ROOT / "pyproject.toml").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()


def jobs_of(workflow):
    return yaml.safe_load(workflow.read_text())["jobs"]


def commands_of(workflow):
    steps = (step for job in jobs_of(workflow).values() for step in job.get("steps", ()))
    return [step["run"] for step in steps if "run" in step]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_only_call_targets_of_the_makefile(workflow):
    targets = set(re.findall(r"^([a-z][\w-]*):", MAKEFILE, re.MULTILINE))
    for command in commands_of(workflow):
        if not command.startswith("gh release create "):
            program, target, *_ = command.split()
            assert program == "make"
            assert target in targets


def test_workflows_are_valid():
    program = pathlib.Path(sys.executable).parent / "actionlint"
    if not program.exists():
        pytest.skip("needs actionlint, of the extra `dev`")
    files = [str(path) for path in WORKFLOWS]  # By name: it finds them in a git repository alone.
    result = subprocess.run([program, *files], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


def test_workflows_test_every_python_and_two_minors_and_compilers():
    matrix = jobs_of(ROOT / ".github/workflows/tests.yml")["test"]["strategy"]["matrix"]["include"]
    pythons = re.findall(r"Python :: (3\.\d+)", PYPROJECT)
    assert [entry["python"] for entry in matrix] == pythons
    minors = {entry["tensorflow"] for entry in matrix}
    assert len(minors) >= 2
    assert minors <= set(supported_minors())
    assert {entry["compiler"].rstrip("-0123456789") for entry in matrix} == {"g++", "clang++"}


def test_workflows_build_a_wheel_for_every_supported_minor():
    matrix = jobs_of(ROOT / ".github/workflows/wheels.yml")["compatibility"]["strategy"]["matrix"]
    assert matrix["tensorflow"] == supported_minors()


def test_commits_are_checked_by_the_same_versions_as_the_rest():
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    hooks = [hook for repository in config["repos"] for hook in repository["hooks"]]
    assert hooks
    for hook in hooks:
        (pinned,) = hook["additional_dependencies"]
        assert f'"{pinned}"' in (ROOT / "setup.py").read_text()


def supported_minors():
    (minors,) = re.findall(r"^MINORS \?= (.*)$", MAKEFILE, re.MULTILINE)
    return minors.split()


def test_only_the_job_that_publishes_may_ask_for_an_identity():
    jobs = jobs_of(ROOT / ".github/workflows/release.yml")
    assert jobs["publish"]["environment"] == "pypi"
    assert set(jobs["publish"]["needs"]) == {"tests", "build"}
    asking = [name for name, job in jobs.items() if "id-token" in job.get("permissions", {})]
    assert asking == ["publish"]


def test_addresses_are_those_of_one_repository():
    (homepage,) = re.findall(r'^Homepage = "(.*)"$', PYPROJECT, re.MULTILINE)
    (documentation,) = re.findall(r'^Documentation = "(.*)"$', PYPROJECT, re.MULTILINE)
    assert homepage == release_notes.REPOSITORY
    assert f'REPOSITORY = "{homepage}"' in (ROOT / "docs/conf.py").read_text()
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["repository-code"] == homepage
    assert citation["url"] == documentation
    names = ("SECURITY.md", "CODE_OF_CONDUCT.md", ".github/ISSUE_TEMPLATE/config.yml")
    for name in names:
        text = (ROOT / name).read_text()
        own = re.findall(r"https://[\w.]*github\.\w+/(?!tensorflow)[^)\s]*", text)
        assert own
        assert all(link.startswith((homepage, documentation)) for link in own)


def test_citation_is_of_this_version_and_licence():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == tf_stn.__version__
    assert f'license = "{citation["license"]}"' in PYPROJECT
    assert {"cff-version", "message", "title", "authors"} <= set(citation)


@pytest.mark.parametrize("form", [path for path in FORMS if path.stem != "config"], ids=str)
def test_issue_forms_ask_for_something(form):
    content = yaml.safe_load(form.read_text())
    assert {"name", "description", "body"} <= set(content)
    fields = content["body"]
    assert {field["type"] for field in fields} <= {"textarea", "input", "dropdown", "markdown"}
    assert len({field["id"] for field in fields}) == len(fields)
    assert all(field["attributes"]["label"] for field in fields)
    assert any(field.get("validations", {}).get("required") for field in fields)


def test_every_version_of_the_changelog_but_the_next_has_its_day():
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    versions = [re.fullmatch(r"(\d+\.\d+\.\d+) \((.*)\)", heading).groups() for heading in headings]
    assert versions[0][0] == tf_stn.__version__
    days = [day for _, day in versions[versions[0][1] == "unreleased" :]]
    dates = [datetime.date.fromisoformat(day) for day in days]
    assert dates == sorted(dates, reverse=True)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A copy of what a release depends on, in which it may be changed."""
    for name in ("tf_stn/__init__.py", "CITATION.cff", "CHANGELOG.md", "docs/reference/releases"):
        target = tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, target)
    changelog = tmp_path / "CHANGELOG.md"
    dated = re.sub(
        r"^(## \S+) \(.*\)", r"\1 (2030-01-31)", changelog.read_text(), flags=re.MULTILINE
    )
    changelog.write_text(dated)
    monkeypatch.setattr(release_notes, "ROOT", tmp_path)
    return tmp_path


TAG = f"v{tf_stn.__version__}"


def test_release_notes_of_a_tag_lead_to_files_at_that_tag(repository):
    output = repository / "notes.md"
    release_notes.main([TAG, "--output", str(output)])
    links = re.findall(r"\]\(([^)#]+)", output.read_text())
    prefix = f"{release_notes.REPOSITORY}/blob/{TAG}/"
    inside = [link.removeprefix(prefix) for link in links if link.startswith(prefix)]
    assert "docs/how_to/export.md" in inside
    assert all((ROOT / path).exists() for path in inside)
    assert all(link.startswith("https://") for link in links)


@pytest.mark.parametrize(
    "name, old, new, expected",
    [
        ("CHANGELOG.md", "(2030-01-31)", "(unreleased)", "(YYYY-MM-DD)', has unreleased"),
        ("CHANGELOG.md", "(2030-01-31)", "(2030-02-31)", "(YYYY-MM-DD)', has 2030-02-31"),
        ("CITATION.cff", f"version: {tf_stn.__version__}", "version: 9.9.9", "CITATION.cff has"),
        ("tf_stn/__init__.py", f'"{tf_stn.__version__}"', '"9.9.9"', "tf_stn/__init__.py has"),
    ],
    ids=["no day", "a day that is none", "citation", "package"],
)
def test_tag_is_refused_for_what_is_not_ready(repository, name, old, new, expected):
    path = repository / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(SystemExit) as error:
        release_notes.main([TAG])
    assert expected in str(error.value)
    assert str(error.value).count("\n") == 1


def test_tag_of_another_form_is_refused(repository):
    with pytest.raises(SystemExit, match=r"a tag must be like v1\.2\.3, received '0\.1'"):
        release_notes.main(["0.1"])
