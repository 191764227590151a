"""Markdown tables from what the benchmarks of the optimizers measured, for docs/performance.md.

python -m benchmarks.tables docs/evidence/bench-optim*/*.json
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


def gpu_table(found: dict[str, Any]) -> str:
    """A file of benchmarks.cuda_optim: one line a pair and set of tensors, both modes in it."""
    where = found["environment"]
    pairs: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for row in found["rows"]:
        key = (f"{row['ours']} / {row['theirs']}", row["shapes"])
        pairs.setdefault(key, {})[row["mode"]] = row
    lines = [
        f"{where['device']}, torch {where['torch']}, python {where['python']}, copy "
        f"{where['copy_gb_s'] / 1000:.2f} TB/s; n = 5 to {max(r['n'] for r in found['rows'])} "
        "interleaved rounds; median [quartiles], µs a step.",
        "",
        "| ratio | tensors | captured | µs | theirs | eager | µs | theirs |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (name, shapes), modes in pairs.items():
        cells = [name, shapes]
        for mode in ("captured", "eager"):
            row = modes.get(mode)
            if row is None:
                cells += ["", "", ""]
                continue
            cells.append(f"{row['ratio']:.2f} [{row['low']:.2f}, {row['high']:.2f}]")
            cells += [f"{row['ours_us']:.0f}", f"{row['theirs_us']:.0f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "files", type=Path, nargs="+", help="files of benchmarks.optim or .cuda_optim"
    )
    for path in parser.parse_args().files:
        found = json.loads(path.read_text())
        if "rows" not in found or "environment" not in found:
            sys.exit(f"{path} holds no rows of benchmarks.optim or benchmarks.cuda_optim")
        made = gpu_table if "device" in found["environment"] else table
        print(f"\n### {path.stem}\n\n{made(found)}")


if __name__ == "__main__":
    main()
