"""What can be used stands in the documentation."""

import re
from itertools import pairwise

import pytest

from services.embedder.app import create_app as embedder_app
from services.embedder.settings import EmbedderSettings
from services.recommender.app import create_app as recommender_app
from services.recommender.settings import RecommenderSettings
from soundalike import embedders
from soundalike.cli import VERBS, make_parser


def section(text, heading):
    """The lines under a heading of the second level."""
    found = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"no section '{heading}'"
    return found[1]


@pytest.mark.parametrize(
    ("table", "heading"), [(EmbedderSettings, "Embedder"), (RecommenderSettings, "Recommender")]
)
def test_every_setting_is_documented(root, table, heading):
    text = (root / "docs" / "settings.md").read_text()
    told = section(text, "Both services") + section(text, heading)
    for name in table.model_fields:
        assert f"| `SOUNDALIKE_{name.upper()}` |" in told, name


@pytest.mark.parametrize(
    ("heading", "create", "settings"),
    [
        ("Embedder", embedder_app, EmbedderSettings),
        ("Recommender", recommender_app, RecommenderSettings),
    ],
)
def test_every_route_is_documented(root, tmp_path, heading, create, settings):
    app = create(settings(data_dir=tmp_path))
    text = (root / "docs" / "http.md").read_text()
    told = section(text, heading) + section(text, "Both services")
    for path, methods in app.openapi()["paths"].items():
        plain = re.sub(r":path}", "}", path)
        for method in methods:
            assert f"`{method.upper()} {plain}`" in told, f"{method.upper()} {plain}"


def test_every_verb_and_option_is_documented(root):
    text = (root / "docs" / "cli.md").read_text()
    parser = make_parser()
    verbs = parser._subparsers._group_actions[0].choices
    assert verbs.keys() == VERBS.keys()
    for name, verb in verbs.items():
        assert f"`soundalike {name}" in text
        told = section(text, name) + section(text, "index") + section(text, "recommend")
        for action in verb._actions:
            for option in action.option_strings:
                assert f"`{option}`" in told or option in ("-h", "--help"), f"{name} {option}"


def test_every_embedder_is_documented_with_its_facts(root):
    text = (root / "docs" / "embedders.md").read_text()
    for key, card in embedders.cards().items():
        row = next(line for line in text.splitlines() if line.startswith(f"| `{key}` |"))
        assert f"| {card.dim} |" in row
        if card.hears:
            assert f"{card.sample_rate:,} Hz" in row
            assert f"{card.frame_dim} at {card.frame_rate_hz:g} Hz" in row
            assert f"{card.min_seconds:g} s" in row
        else:
            assert "| none | text |" in row
        assert (card.weights.licence if card.weights else "none") in row
        section(text, key)


def test_every_fault_code_is_documented(root):
    from services.common.problems import STATUS

    text = (root / "docs" / "http.md").read_text()
    for code, (status, _) in STATUS.items():
        assert f"| {status} | `{code}` |" in text, code


def test_links_lead_somewhere(root):
    for page in [root / "README.md", root / "CHANGELOG.md", *(root / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_readme_begins_with_what_it_is_and_two_commands(root):
    lines = (root / "README.md").read_text().splitlines()[:12]
    commands = [line.split("#")[0].strip() for line in lines if line.startswith("    make")]
    assert commands == ["make run", "make test"]
    assert not [pair for pair in pairwise(lines) if pair == ("", "")]
