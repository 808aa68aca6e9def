"""Records: the JSON beside recycled prompts and maps, and its text for a terminal."""
