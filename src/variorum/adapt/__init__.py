"""Floor 5: changes what a trained model does with few parameters."""
