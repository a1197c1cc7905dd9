"""What runs: each topology reads like its drawing."""
