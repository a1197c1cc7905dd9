"""What a hybrid answer is made of: the cut between lake and tail, and corrections."""
