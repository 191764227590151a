"""Every Python block of the README and the docs runs, and every local link resolves."""

import functools
import importlib
import json
import re
import tomllib
from pathlib import Path

import pytest
import torch

import etalambda as el

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [page for page in PAGES if not {"_build", "evidence"} & set(page.parts)]
OTHERS = ["LOG.md", "PAPERS.md", "CHANGELOG.md", "CONTRIBUTING.md"]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EVIDENCE = re.compile(r"\bevidence/(?!NAME)([\w.*{},/-]*[\w*}])")
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)[^)]*\)")


def surroundings():
    """What a reader has before the first line: a model, its optimizer, a few batches."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(8, 16), torch.nn.LayerNorm(16), torch.nn.ReLU(), torch.nn.Linear(16, 2)
    )
    batches = [(torch.randn(4, 8), torch.randint(2, (4,))) for _ in range(3)]

    def train(batch):
        optimizer = names["optimizer"]
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(names["model"](batch[0]), batch[1])
        loss.backward()
        return loss

    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1)
    names = dict(torch=torch, el=el, model=model, optimizer=optimizer, batches=batches, train=train)
    names["lr_scheduler"] = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 100)
    return names


@pytest.mark.parametrize("page", PAGES, ids=[str(p.relative_to(ROOT)) for p in PAGES])
def test_python_blocks_run(page, capsys, tmp_path, monkeypatch):
    blocks = [code for code in BLOCK.findall(page.read_text()) if ">>>" not in code]
    monkeypatch.chdir(tmp_path)
    names = surroundings()
    for number, code in enumerate(blocks, start=1):
        exec(compile(code, f"{page.name}, block {number}", "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=[str(p.relative_to(ROOT)) for p in PAGES])
def test_local_links_resolve(page):
    for target in LINK.findall(page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def spelled_out(path):
    """``{a,b}/c`` as a shell reads it: a/c and b/c."""
    found = re.match(r"(.*?)\{(.*?)\}(.*)", path)
    if found is None:
        return [path]
    before, choices, after = found.groups()
    return [
        whole for choice in choices.split(",") for whole in spelled_out(before + choice + after)
    ]


@pytest.mark.parametrize("name", [str(p.relative_to(ROOT)) for p in PAGES] + OTHERS)
def test_evidence_that_is_named_is_there(name):
    """Wherever a page names a file or folder of docs/evidence, also by ``*`` and ``{a,b}``."""
    for named in EVIDENCE.findall((ROOT / name).read_text()):
        for path in spelled_out(named):
            assert list((ROOT / "docs/evidence").glob(path)), f"{name}: docs/evidence/{path}"


def lives(dotted):
    """Whether a dotted name is a module, or an attribute of one."""
    parts = dotted.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        return functools.reduce(lambda o, name: getattr(o, name, None), parts[cut:], found)
    return None


@pytest.mark.parametrize("page", PAGES, ids=[str(p.relative_to(ROOT)) for p in PAGES])
def test_names_are_alive(page):
    """``etalambda.x.y`` and ``el.y`` in code, wherever they stand."""
    for name in re.findall(r"`((?:etalambda|el)\.\w+(?:\.\w+)*)", page.read_text()):
        whole = re.sub(r"^el\.", "etalambda.", name)
        assert lives(whole) is not None, f"{page.name} names {name}"


def test_errata_name_tests_that_exist():
    """Every erratum is tested, or says in words why nothing is to be tested."""
    page = (ROOT / "docs/errata.md").read_text()
    rows = [row for row in page.splitlines() if row.startswith("| ") and row.count(" | ") == 3]
    rows = [row for row in rows if not row.startswith("| where")]
    assert len(rows) > 60
    for row in rows:
        tested = row.rsplit(" | ", 1)[1].removesuffix(" |")
        for path, name in re.findall(r"`(tests/\S+\.py)::(\w+)`", tested):
            assert f"def {name}(" in (ROOT / path).read_text(), f"{path} has no {name}"
        assert tested, row


def test_every_page_is_in_the_navigation():
    """Sphinx warns about it too, but only when the pages are built."""
    docs = ROOT / "docs"
    entries = set()
    for page in PAGES[1:]:
        for block in re.findall(r"```\{toctree\}\n(.*?)```", page.read_text(), re.DOTALL):
            lines = [line for line in block.splitlines() if line and not line.startswith(":")]
            names = [re.sub(r".*<(.+)>", r"\1", line) for line in lines]
            entries |= {(page.parent / name).with_suffix(".md").resolve() for name in names}
    assert {page.resolve() for page in PAGES[1:]} - entries == {(docs / "index.md").resolve()}


def test_the_support_table_is_what_the_package_asks_for():
    """docs/support.md against pyproject.toml and the measured wheel."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    page = (ROOT / "docs/support.md").read_text()
    rows = re.findall(r"^\| (\w+) \| (\S+) or newer \| ([\d., ]+) \|$", page, re.MULTILINE)
    ranges = {name: (least, tested.split(", ")) for name, least, tested in rows}
    assert project["requires-python"] == f">={ranges['Python'][0]}"
    assert f"torch>={ranges['torch'][0]}" in project["dependencies"]
    measured = json.loads((ROOT / "docs/evidence/release/check.json").read_text())
    version = f"etalambda-{project['version']}-"
    assert measured["wheel"].startswith(version), "run benchmarks/release_check.sh"
    for series in ranges["Python"][1]:
        assert f"Programming Language :: Python :: {series}" in project["classifiers"]
    for name in ("python", "torch"):
        series = ".".join(measured[name].split(".")[:2])
        assert series in ranges["Python" if name == "python" else "torch"][1]
    assert f"{measured['wheel_bytes'] / 1000:.0f} kB" in page
    own = measured["own_import_ms"]
    assert f"{own['import etalambda']:.1f} ms" in page
    assert f"{own['torch, then audit and suggest']:.0f} ms" in page


def test_the_citation_is_of_this_package():
    """CITATION.cff against pyproject.toml and PAPERS.md: title, licence, version, the papers."""
    yaml = pytest.importorskip("yaml")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["title"].startswith(f"{project['name']}:")
    assert citation["license"] == project["license"]
    assert citation.get("version", project["version"]) == project["version"]
    assert [citation["authors"][0]["name"]] == [author["name"] for author in project["authors"]]
    papers = (ROOT / "PAPERS.md").read_text().lower()
    for reference in citation["references"]:
        assert reference["title"].lower() in papers
