"""What learners move: widgets over figures, with no maths of their own."""
