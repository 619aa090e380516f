"""Parts that make fewer, wider tokens between the stages of a pyramid."""
