"""The cases of `python -m bench`: one file each, with a `main(place)` and a docstring for the
list."""
