"""Parts that mix the channels of one token at a time. Nothing that looks at another token."""
