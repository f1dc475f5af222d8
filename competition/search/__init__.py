"""The search: its space, the oracle that proposes points of it, and the processes that try them."""
