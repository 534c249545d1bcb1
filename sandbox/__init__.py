"""Fake vendors on loopback, as strict as the real ones, with an effect log and fault scripts."""
