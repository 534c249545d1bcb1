"""`make demo`: jobs of every kind through vendors that fail, and the proof of what came of them."""
