"""What is said of a release in several places is the same everywhere."""

import importlib.util
import re
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

import si_crsae

ROOT = Path(__file__).parents[1]
TEMPLATES = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
FORMS = [path for path in TEMPLATES if path.name != "config.yml"]
# What conda-forge calls otherwise.
CONDA_NAMES = {"torch": "pytorch", "neo": "python-neo", "matplotlib": "matplotlib-base"}
FIELDS = {"input", "textarea", "dropdown", "checkboxes"}


def read(path):
    return yaml.safe_load((ROOT / path).read_text(encoding="utf8"))


def test_the_newest_release_of_the_changelog_is_the_version_and_the_one_to_cite():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf8")
    version, day = re.findall(r"^## (\d+\.\d+\.\d+) \((\d{4}-\d\d-\d\d)\)$", changelog, re.MULTILINE)[0]
    citation = read("CITATION.cff")
    assert version == si_crsae.__version__ == citation["version"]
    assert day == str(citation["date-released"])


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_an_issue_form_is_one_that_is_shown_and_asks_for_what_the_doctor_says(path):
    form = read(path)
    assert all(form[key] for key in ("name", "description", "body"))
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert {field["type"] for field in fields} <= FIELDS
    assert all(field["attributes"]["label"] for field in fields)
    names = [field["id"] for field in fields]
    assert len(names) == len(set(names))
    (doctor,) = (field for field in fields if field["id"] == "doctor")
    assert "crsae doctor" in doctor["attributes"]["label"]


def test_problems_and_results_cannot_be_reported_without_it():
    required = {
        path.stem
        for path in FORMS
        for field in read(path)["body"]
        if field.get("id") == "doctor" and field.get("validations", {}).get("required")
    }
    assert required == {"problem", "result"}


# ---- conda


def conda_requirements(*extras):
    """Return what pyproject.toml requires as conda says it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))["project"]
    texts = [*project["dependencies"], *(text for extra in extras for text in project["optional-dependencies"][extra])]
    parsed = [Requirement(text) for text in texts]
    required = {f"{CONDA_NAMES.get(each.name, each.name)} {each.specifier}".strip() for each in parsed}
    return required | {f"python {project['requires-python']}"}


@pytest.fixture
def recipe():
    """The recipe as rattler-build reads and renders it."""
    pytest.importorskip("rattler_build")
    from rattler_build.render import RenderConfig
    from rattler_build.stage0 import Stage0Recipe
    from rattler_build.tool_config import PlatformConfig
    from rattler_build.variant_config import VariantConfig

    rendering = RenderConfig(platform=PlatformConfig(target_platform="linux-64"))
    (variant,) = Stage0Recipe.from_file(ROOT / "recipe" / "recipe.yaml").render(VariantConfig(), rendering)
    return variant.recipe.to_dict()


def test_the_recipe_is_of_this_version_and_requires_what_the_package_does(recipe):
    assert recipe["package"] == {"name": "si-crsae", "version": si_crsae.__version__}
    assert set(recipe["requirements"]["run"]) == conda_requirements()
    assert recipe["build"]["noarch"] == "python"


def test_the_recipe_has_the_commands_of_the_package_and_its_oldest_python(recipe):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))["project"]
    assert recipe["build"]["python"]["entry_points"] == [f"{name} = {ref}" for name, ref in project["scripts"].items()]
    oldest = project["requires-python"].removeprefix(">=")
    assert f"python {oldest}.*" in recipe["requirements"]["host"]
    assert recipe["source"] == [{"path": f"../dist/si_crsae-{si_crsae.__version__}.tar.gz"}]


def test_the_conda_environment_has_what_the_package_and_its_widgets_require():
    listed = [each for each in read("environment.yml")["dependencies"] if isinstance(each, str)]
    pinned = {each.partition(",")[0] for each in listed} - {"pip"}
    assert pinned == conda_requirements("widgets")


# ---- the wheel


@pytest.fixture
def required_by(tmp_path):
    """Function that says which distributions are linked for a wheel with such requirements."""
    spec = importlib.util.spec_from_file_location("try_wheel", ROOT / "release" / "try_wheel.py")
    try_wheel = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(try_wheel)

    def names(*requirements):
        lines = ["Metadata-Version: 2.1", "Name: a", "Version: 1", *(f"Requires-Dist: {each}" for each in requirements)]
        with zipfile.ZipFile(tmp_path / "a-1-py3-none-any.whl", "w") as archive:
            archive.writestr("a-1.dist-info/METADATA", "\n".join(lines))
        return {each.metadata["Name"].lower() for each in try_wheel.required_by(tmp_path / "a-1-py3-none-any.whl")}

    return names


def test_a_wheel_is_tried_with_what_it_requires_and_what_that_requires_only(required_by):
    found = required_by("scikit-learn", "pytest; extra == 'dev'", "colorama; python_version < '3'")
    assert {"scikit-learn", "numpy", "scipy", "joblib"} <= found
    assert not {"pytest", "colorama", "si_crsae", "pandas"} & found


def test_a_wheel_that_requires_another_version_is_not_tried(required_by):
    with pytest.raises(SystemExit, match=r"numpy<1 is required, \d.* is installed"):
        required_by("numpy<1")
