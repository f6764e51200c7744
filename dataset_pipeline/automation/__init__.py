"""What happens without a person: the night, what watches between nights, who is told where it fails."""
