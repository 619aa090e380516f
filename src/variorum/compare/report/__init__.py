"""The report: one HTML file that opens without a network. Plain HTML, CSS and JavaScript; Plotly draws."""
