"""The five stages, one module each. They meet in files only and never import each other."""
