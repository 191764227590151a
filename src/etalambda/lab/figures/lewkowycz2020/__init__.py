"""Lewkowycz & Gur-Ari 2020, *On the training dynamics of deep networks with L2 regularization*."""
