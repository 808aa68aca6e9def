"""Records: what is written beside a recycled prompt, and its text for people."""
