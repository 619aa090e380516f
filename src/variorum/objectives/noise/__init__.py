"""How clean data become noise, step by step, and back. No losses and no models."""
