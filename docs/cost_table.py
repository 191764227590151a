"""Write the cost table of docs/diagnose.md from the benchmark's evidence: python docs/cost_table.py

The evidence is what ``python -m benchmarks.monitor --out docs/evidence/bench-monitor/monitor.json``
left; the table stands between two comments of the page, and a test keeps both alike.
"""

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
EVIDENCE = HERE / "evidence" / "bench-monitor" / "monitor.json"
PAGE = HERE / "diagnose.md"
START, END = "<!-- costs: python docs/cost_table.py -->", "<!-- end of costs -->"
MISSING = (
    "Not measured yet: run `python -m benchmarks.monitor --out "
    "docs/evidence/bench-monitor/monitor.json`, then `python docs/cost_table.py`."
)


def costs(made: dict[str, Any]) -> str:
    """The evidence as Markdown: one row a quantity, a pair of columns a device."""
    devices = made["devices"]
    tables = {name: _rows(device) for name, device in devices.items()}
    heads = " | ".join(f"{name}, ms | {name}, steps" for name in devices)
    lines = [_about(made), "", f"| one call of | {heads} |", "|---|" + "---|" * (2 * len(devices))]
    for name in dict.fromkeys(name for table in tables.values() for name in table):
        cells = [_cells(tables[device].get(name)) for device in devices]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *_sentences(devices)])


def _rows(device: dict[str, Any]) -> dict[str, Any]:
    extra = [device[key] for key in ("panel", "idle") if key in device]
    return {row["quantity"]: row for row in [*device["rows"], *extra]}


def _cells(row: dict[str, Any] | None) -> str:
    if row is None or "error" in row:
        return "– | –"
    return f"{row['milliseconds']:.3g} | {_plain(row['steps'])}"


def _plain(value: float) -> str:
    """Small numbers without an exponent."""
    return f"{value:.2g}" if value >= 1e-3 else f"{value:.6f}".rstrip("0").rstrip(".") or "0"


def _about(made: dict[str, Any]) -> str:
    batches = ", ".join(f"{name} batch {d['batch']}" for name, d in made["devices"].items())
    return (
        f"ResNet-18 of 11.2M weights in 62 tensors on 32x32 images, AdamW, one thread; {batches}; "
        f"torch {made['torch']}, {made['gpu'] or 'no GPU'}. Medians; raw numbers in "
        "`docs/evidence/bench-monitor/monitor.json`. A step is one training step of that batch."
    )


def _sentences(devices: dict[str, Any]) -> list[str]:
    said = []
    for name, device in devices.items():
        if "panel" in device:
            share = 100 * device["panel"]["steps"]
            said.append(
                f"- {name}: the default panel every 10 steps costs {share:.3f} % of a step."
            )
        if "overhead" in device:
            o = device["overhead"]
            said.append(
                f"- {name}: training with it takes {o['ratio']:.4f} [{o['low']:.4f}, "
                f"{o['high']:.4f}] of the time without, {o['rounds']} pairs of {o['block']} steps."
            )
        for case, found in device.get("host_waits", {}).items():
            said.append(f"- {name}: waits of the host for the GPU, {case}: {found}.")
        if "lanczos" in device:
            for row in device["lanczos"]["rows"]:
                said.append(
                    f"- {name}: Lanczos, {device['lanczos']['weights']} weights, {row['steps']} "
                    f"products: {row['seconds']:.2f} s, edges within "
                    f"{max(row['error_low'], row['error_high']):.1e} of the largest."
                )
    return said


def page() -> str:
    """The page as it should stand."""
    text = PAGE.read_text()
    before, rest = text.split(START)
    after = rest.split(END)[1]
    table = costs(json.loads(EVIDENCE.read_text())) if EVIDENCE.exists() else MISSING
    return f"{before}{START}\n\n{table}\n\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page())
    print(PAGE)
