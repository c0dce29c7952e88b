"""What examples/distorted_digits.py is made of."""
