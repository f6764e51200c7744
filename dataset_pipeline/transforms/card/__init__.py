"""The dataset card of a release and its attribution file, from counted facts to Markdown."""
