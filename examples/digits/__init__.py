"""What the examples on digits share."""
