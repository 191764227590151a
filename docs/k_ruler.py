"""Draw docs/img/k-ruler.svg, the picture in the README: python docs/k_ruler.py

The arrow is the audit of a run that many people have: AdamW as torch builds it, 5000 steps.
"""

from pathlib import Path

import matplotlib
import torch

import etalambda as el

matplotlib.use("svg")
matplotlib.rcParams.update({"svg.hashsalt": "etalambda", "svg.fonttype": "none"})


def main(path: Path = Path(__file__).parent / "img" / "k-ruler.svg") -> None:
    """Audit, draw, save: the same bytes every time."""
    model = torch.nn.Linear(100, 100, bias=False)
    optimizer = torch.optim.AdamW(model.parameters())
    axes = el.audit(model, optimizer, steps=5000).plot()
    axes.figure.savefig(path, metadata={"Date": None})
    print(path)


if __name__ == "__main__":
    main()
