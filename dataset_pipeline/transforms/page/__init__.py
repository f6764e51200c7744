"""report.html: a release on one page, from counted facts to HTML and SVG."""
