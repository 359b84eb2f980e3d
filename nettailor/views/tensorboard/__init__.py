"""What TensorBoard shows of a run: charts, the block graph, pictures of gates, of the search and of mistakes, hparams."""
