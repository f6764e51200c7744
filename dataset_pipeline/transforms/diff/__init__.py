"""Two releases side by side: what differs, and what caused it."""
