"""Markdown tables from the raw times of benchmarks.optim, to paste into docs/performance.md.

python -m benchmarks.tables docs/evidence/bench-optim/*.json
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any


def table(found: dict[str, Any]) -> str:
    """One file as a caption and a table; ratios that miss what they must are marked."""
    where = found["environment"]
    parts = [f"{key} {where[key]}" for key in ("torch", "python", "machine") if key in where]
    if "threads" in where:
        parts.append(f"{where['threads']} thread")
    if "load" in where:
        parts.append(f"load {where['load']} at the end")
    lines = [
        f"{', '.join(parts)}; n = {found['rounds']} interleaved rounds.",
        "",
        "| ratio | tensors | median [quartiles] | must | aim | |",
        "|---|---|---|---|---|---|",
    ]
    for row in found["rows"]:
        middle, must, aim = row["ratio"], row["must"], row.get("aim")
        verdict = "missed" if middle > must else "aim" if aim and middle <= aim else "held"
        cells = [
            row["name"],
            row["shapes"],
            f"{middle:.2f} [{row['low']:.2f}, {row['high']:.2f}]",
            f"{must:.2f}",
            f"{aim:.2f}" if aim else "",
            verdict,
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("files", type=Path, nargs="+", help="files written by benchmarks.optim")
    for path in parser.parse_args().files:
        found = json.loads(path.read_text())
        if "rows" not in found or "environment" not in found:
            sys.exit(f"{path} holds no rows of benchmarks.optim")
        print(f"\n### {path.stem}\n\n{table(found)}")


if __name__ == "__main__":
    main()
