"""Checkpoint folders in the layout of Hugging Face: one file a family, and what all share. No model of its own."""
