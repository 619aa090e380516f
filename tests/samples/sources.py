"""A bundled set for each kind of data that users bring."""

SOURCES = {
    "table": "breast_cancer",
    "images": "digits",
    "text": "shakespeare",
    "labelled texts": "shakespeare_plays",
    "text pairs": "spoken_numbers",
    "series": "sunspots",
    "sounds": "chirps",
    "labelled series": "digit-rows",
    "point clouds": "digit-points",
}
