"""Numba kernels: plain loops over arrays, nothing of ours imported."""
