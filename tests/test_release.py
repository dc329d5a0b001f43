"""What is said of a release in several places is the same everywhere."""

import re
from pathlib import Path

import pytest
import yaml

import si_crsae

ROOT = Path(__file__).parents[1]
TEMPLATES = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
FORMS = [path for path in TEMPLATES if path.name != "config.yml"]
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
