"""Xie et al. 2022, *Understanding and scheduling weight decay*."""
