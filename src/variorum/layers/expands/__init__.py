"""Parts that make more, narrower tokens on a decoder's way back to the finest grid."""
