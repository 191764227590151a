"""The page's cost table is the evidence's, and every kind of row finds its place."""

import importlib.util
import json
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def load():
    spec = importlib.util.spec_from_file_location("cost_table", DOCS / "cost_table.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_script_writes():
    """After new evidence: python docs/cost_table.py"""
    module = load()
    assert module.page() == module.PAGE.read_text()


def test_rows_devices_and_sentences(tmp_path, monkeypatch):
    row = dict(quantity="Panel", milliseconds=12.345, steps=0.0041)
    lanczos = dict(weights=10, rows=[dict(steps=64, seconds=1.5, error_low=1e-4, error_high=2e-6)])
    cpu = dict(batch=64, rows=[row], panel=row | dict(quantity="a step"), lanczos=lanczos)
    broken = dict(quantity="Panel", error="no such kernel")
    overhead = dict(ratio=1.001, low=0.99, high=1.01, rounds=15, block=30)
    cuda = dict(batch=128, rows=[broken], overhead=overhead, host_waits={"AdamW": "none"})
    made = dict(torch="2.11", gpu="H200", devices=dict(cpu=cpu, cuda=cuda))
    text = load().costs(json.loads(json.dumps(made)))
    assert "| Panel | 12.3 | 0.0041 | – | – |" in text
    assert "- cpu: the default panel every 10 steps costs 0.410 % of a step." in text
    assert "- cpu: Lanczos, 10 weights, 64 products: 1.50 s, edges within 1.0e-04" in text
    assert "- cuda: waits of the host for the GPU, AdamW: none." in text
    assert "1.0010 [0.9900, 1.0100]" in text
