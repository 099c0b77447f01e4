"""A study: asked, told, resumed, stopped, ranked and read, and the loop that keeps its slots busy."""
