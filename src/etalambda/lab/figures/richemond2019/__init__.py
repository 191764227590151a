"""Richemond & Guo 2019, *Combining learning rate decay and weight decay with complexity gradient
descent, Part I*."""
