"""Preparation: raw pictures become aligned faces and optical flow in a memory-mapped store."""
