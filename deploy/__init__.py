"""Files that K2 is run with, and the programs that make and check them."""
