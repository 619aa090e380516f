"""Parts that join what comes up a decoder with what was kept on the way down."""
