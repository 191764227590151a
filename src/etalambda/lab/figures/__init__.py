"""Figures: columns of a run's tables in, a matplotlib Figure out. No file, no state, no pyplot."""
