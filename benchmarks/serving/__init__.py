"""What a served answer costs beside the bare graph, and beside other ways to serve it."""
