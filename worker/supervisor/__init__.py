"""`ferryman up`: the embedded servers and all processes of one machine, kept running."""
