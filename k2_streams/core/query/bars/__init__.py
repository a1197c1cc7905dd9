"""What bars are: their grid, which trades count, what they lack, and the values of each."""
